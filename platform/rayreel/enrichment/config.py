"""Which language model describes videos, and what that may cost. Imports nothing heavy."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_MILLION = 1_000_000


class EnrichConfig(BaseModel):
    """The endpoint of a language model, and how it is asked. The API key is not a setting, so no dump contains it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(
        "",
        description="OpenAI-compatible endpoint, such as http://localhost:11434/v1; titles, descriptions, tags and "
        "transcripts are sent to it",
    )
    model: str = Field("", description="name of the model at the endpoint")
    key_env: str = Field("OPENAI_API_KEY", description="environment variable with the API key, if there is one")
    key_file: Path | None = Field(None, description="file with the API key, instead of the variable")
    pictures: bool = Field(
        False, description="also send each video's contact sheet, to a model that reads images (extract.pictures)"
    )
    language: str | None = Field(None, description="language of the answers, such as English; unset: the video's own")
    transcript_characters: int = Field(6000, ge=0, description="first characters of a transcript that are sent")
    answer_tokens: int = Field(500, ge=50, description="most tokens of an answer")
    structured: Annotated[
        Literal["json_schema", "json_object", "off"], BeforeValidator(lambda given: "off" if given is False else given)
    ] = Field(
        "json_schema",
        description="how the endpoint is made to answer in JSON; answers are validated in any case",
    )
    request: dict[str, Any] = Field(
        {},
        description="further fields of a request, such as {temperature: 0}; null removes one: {max_tokens: null, "
        "max_completion_tokens: 2000}",
    )
    max_views: int | None = Field(
        None, ge=0, description="only videos with at most this many views in `interactions`; unset: all"
    )
    max_tokens: int | None = Field(None, ge=1, description="budget of a run: tokens sent and received; unset: any")
    max_cost: float | None = Field(None, gt=0, description="budget of a run, in the currency of the prices; unset: any")
    price_in: float = Field(0, ge=0, description="price of a million tokens that are sent")
    price_out: float = Field(0, ge=0, description="price of a million tokens that are received")
    concurrency: int = Field(4, ge=1, le=256, description="requests at the same time")
    timeout_s: float = Field(120, gt=0, description="longest wait for an answer, seconds")
    retries: int = Field(
        5, ge=0, description="retries of a request after 408, 409, 429, 5xx and lost connections, with growing pauses"
    )

    @model_validator(mode="after")
    def _a_cost_needs_prices(self) -> Self:
        if self.max_cost is not None and not self.price_in and not self.price_out:
            raise ValueError("max_cost needs the prices per million tokens: set enrich.price_in and enrich.price_out")
        return self

    def cost(self, sent: int, received: int) -> float:
        """Return the price of tokens."""
        return (sent * self.price_in + received * self.price_out) / _MILLION
