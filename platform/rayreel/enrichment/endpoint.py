"""Requests to an OpenAI-compatible endpoint, by OpenAI's client."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, NonNegativeInt, ValidationError

from rayreel.enrichment.config import EnrichConfig
from rayreel.errors import RayreelError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

EXTRA = 'pip install "rayreel[llm]"'
# Local servers need no key, but the client does.
_NO_KEY = "none"
_MOST = 300  # characters of a reason


class EnrichmentUnavailable(RayreelError):
    """No language model can be asked: the client, the endpoint's address, the model's name or its key is missing."""


class EndpointStopped(RayreelError):
    """The endpoint refuses all requests or is away. Answers so far are kept."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The text of an answer, and the tokens that it used; None if the endpoint does not say."""

    text: str
    used: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class NoReply:
    """Why there is no usable answer about one video, and the tokens that were used; None if that is not known."""

    why: str
    used: tuple[int, int] | None = (0, 0)


class _ReplyMessage(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _ReplyMessage
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: NonNegativeInt
    completion_tokens: NonNegativeInt


class _Completion(BaseModel):
    """What is read of a response. Tool calls and whatever else it has are ignored."""

    choices: list[_Choice]
    usage: _Usage | None = None


class Endpoint:
    """Asks one endpoint. Retries, their pauses and Retry-After are the client's."""

    def __init__(self, config: EnrichConfig) -> None:
        """Raises EnrichmentUnavailable."""
        self._client = _client(config)
        self._where = f"{config.url} ({config.model})"

    async def ask(self, body: Mapping[str, Any]) -> Reply | NoReply:
        """Return the answer to a request, or why there is none. Raises EndpointStopped."""
        import openai

        try:
            found = await self._client.chat.completions.with_raw_response.create(**body)
        except openai.APITimeoutError:
            return NoReply("no answer in time: raise enrich.timeout_s", None)
        except openai.APIConnectionError as error:
            raise EndpointStopped(
                f"{self._where} cannot be reached: {error.__cause__ or error}. Start the server or check enrich.url, "
                "and run the same command again: answers are kept."
            ) from error
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise EndpointStopped(
                f"{self._where} refuses requests: {error.message}. Check enrich.model, and the API key in "
                "enrich.key_env or enrich.key_file."
            ) from error
        except openai.RateLimitError as error:
            raise EndpointStopped(
                f"{self._where} still limits requests after all retries: {error.message}. Lower enrich.concurrency or "
                "raise enrich.retries, and run the same command again: answers are kept."
            ) from error
        except openai.APIStatusError as error:
            return NoReply(f"HTTP {error.status_code}: {error.message}"[:_MOST])
        return _reply(found.content)

    async def close(self) -> None:
        """Close connections."""
        await self._client.close()


def _reply(content: bytes) -> Reply | NoReply:
    try:
        found = _Completion.model_validate_json(content)
    except ValidationError:
        return NoReply("a response that is not a chat completion: check enrich.url", None)
    used = None if found.usage is None else (found.usage.prompt_tokens, found.usage.completion_tokens)
    if not found.choices:
        return NoReply("a response without an answer", used)
    choice = found.choices[0]
    if choice.finish_reason == "length":
        return NoReply("the answer was cut off: raise enrich.answer_tokens", used)
    if choice.message.refusal or not choice.message.content:
        return NoReply(f"refused: {choice.message.refusal or 'no content'}"[:_MOST], used)
    return Reply(choice.message.content, used)


def _client(config: EnrichConfig) -> "AsyncOpenAI":
    try:
        from openai import AsyncOpenAI
    except ImportError as error:
        raise EnrichmentUnavailable(f"Asking a language model needs the package openai. Run `{EXTRA}`.") from error
    missing = [f"enrich.{name}" for name in ("url", "model") if not getattr(config, name)]
    if missing:
        raise EnrichmentUnavailable(
            f"No language model is chosen: set {' and '.join(missing)}, such as --set "
            "enrich.url=http://localhost:11434/v1 --set enrich.model=NAME. Texts of your videos are sent there."
        )
    return AsyncOpenAI(base_url=config.url, api_key=_key(config), timeout=config.timeout_s, max_retries=config.retries)


def _key(config: EnrichConfig) -> str:
    if config.key_file is None:
        return os.environ.get(config.key_env, "").strip() or _NO_KEY
    try:
        return config.key_file.expanduser().read_text().strip() or _NO_KEY
    except OSError as error:
        raise EnrichmentUnavailable(
            f"enrich.key_file {config.key_file}: {error.strerror}. Write the API key to it, or set enrich.key_env."
        ) from None
