"""A client of the HTTP API."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from rayreel.client.messages import (
    Deleted,
    Embeddings,
    Job,
    NewVideo,
    Problem,
    Ready,
    Recommendations,
    RecommendRequest,
    Release,
    User,
    Video,
    VideoPage,
)
from rayreel.errors import RayreelError

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
_BACKOFF = wait_exponential_jitter(initial=0.1, max=5, jitter=0.1)


class ApiError(RayreelError):
    """The service refused a request, failed on it or did not answer. `status` is None when there was no answer."""

    def __init__(self, message: str, status: int | None = None, problem: Problem | None = None) -> None:
        super().__init__(message)
        self.status, self.problem = status, problem

    @property
    def request_id(self) -> str | None:
        """What the service's logs call the request."""
        return self.problem.instance if self.problem else None


class _Again(Exception):
    """A request that may be sent once more, and when the service says to."""

    def __init__(self, error: ApiError, after_s: float) -> None:
        super().__init__(str(error))
        self.error, self.after_s = error, after_s


class Client:
    """Speaks to one service, keeping its connections; share it between threads, and close it or use it in `with`.

    After a lost connection, 429 and 503 a request is sent again, `retries` times, no sooner than the service asks for.
    One that adds something is sent again only where the service cannot have begun with it. All methods raise ApiError.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        retries: int = 5,
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_s)
        self._url = url
        self._retrying = Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, _Again)),
            stop=stop_after_attempt(retries + 1),
            wait=_patience,
            reraise=True,
        )

    def recommend(
        self,
        *,
        video_id: str | None = None,
        text: str | None = None,
        embedding: Sequence[float] | None = None,
        user: User | Mapping[str, Any] | None = None,
        top_k: int = 10,
        **options: Any,  # noqa: ANN401 - the fields of RecommendOptions
    ) -> Recommendations:
        """Videos for exactly one query; `options` are the fields of `RecommendOptions`, such as filter or diversity."""
        numbers = None if embedding is None else [float(number) for number in embedding]
        query = {"video_id": video_id, "text": text, "embedding": numbers, "user": user}
        asked = {name: value for name, value in query.items() if value is not None}
        body = _valid(RecommendRequest, {**asked, "top_k": top_k, **options})
        return self._ask(Recommendations, "POST", "/v1/recommend", json=_body(body))

    def recommend_upload(self, file: Path, title: str = "", top_k: int = 10) -> Recommendations:
        """Videos like a file, which the service does not keep."""
        form = {"title": title, "top_k": str(top_k)}
        return self._ask(Recommendations, "POST", "/v1/recommend/upload", data=form, files=_upload(file))

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Embeddings of up to 64 texts, in their order."""
        return self._ask(Embeddings, "POST", "/v1/embed", json={"texts": list(texts)})

    def embed_upload(self, file: Path, title: str = "") -> Embeddings:
        """The embedding of a file, which the service does not keep."""
        return self._ask(Embeddings, "POST", "/v1/embed/upload", data={"title": title}, files=_upload(file))

    def add_video(self, source: str | Path, **fields: Any) -> Video:  # noqa: ANN401 - the fields of NewVideo
        """Add a video by its address (text) or by uploading a file (Path); `fields` are those of `NewVideo`."""
        if isinstance(source, str):
            body = _valid(NewVideo, {"uri": source, **fields})
            return self._ask(Video, "POST", "/v1/videos", twice=False, json=_body(body))
        body = _valid(NewVideo, {"uri": source.name, **fields})
        return self._ask(Video, "POST", "/v1/videos", twice=False, data=_form(body), files=_upload(source))

    def add_catalog(self, catalog: str) -> Job:
        """Start a job that adds the videos of a catalog; it is QUEUED while another one runs."""
        return self._ask(Job, "POST", "/v1/videos/batch", twice=False, json={"catalog": catalog})

    def job(self, job_id: str) -> Job:
        """How far a job is."""
        return self._ask(Job, "GET", f"/v1/jobs/{_part(job_id)}")

    def cancel_job(self, job_id: str) -> None:
        """Take a job out of the queue, or stop it; what it has added so far stays."""
        self._send("DELETE", f"/v1/jobs/{_part(job_id)}")

    def videos(self, page: int = 100) -> Iterator[Video]:
        """All videos, by id, fetched `page` at a time."""
        cursor: dict[str, str] = {}
        while True:
            answer = self._ask(VideoPage, "GET", "/v1/videos", params={"limit": str(page), **cursor})
            yield from answer.videos
            if answer.next_cursor is None:
                return
            cursor = {"cursor": answer.next_cursor}

    def video(self, video_id: str) -> Video:
        """One video."""
        return self._ask(Video, "GET", f"/v1/videos/{_part(video_id)}")

    def delete_video(self, video_id: str) -> None:
        """Delete one video; it is no error that a repeated request finds it gone."""
        self._send("DELETE", f"/v1/videos/{_part(video_id)}", gone_is_fine=True)

    def delete_all_videos(self, confirm: str) -> int:
        """Delete every video; `confirm` as the service demands it. Returns how many there were."""
        return self._ask(Deleted, "DELETE", "/v1/videos", params={"confirm": confirm}).deleted

    def release(self) -> Release:
        """The release that serves."""
        return self._ask(Release, "GET", "/v1/release")

    def releases(self) -> list[Release]:
        """All releases there have been, as far as they are recorded."""
        return self._ask(list[Release], "GET", "/v1/releases")

    def ready(self) -> Ready:
        """What serves; ApiError with status 503 while nothing can."""
        return self._ask(Ready, "GET", "/readyz")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def _ask(self, kind: type[T], method: str, path: str, *, twice: bool = True, **request: Any) -> T:  # noqa: ANN401
        answer = self._send(method, path, twice=twice, **request)
        try:
            return TypeAdapter(kind).validate_json(answer.content)
        except ValidationError as error:
            raise ApiError(f"{self._url}{path} answered no {kind.__name__}: {error}", answer.status_code) from None

    def _send(
        self,
        method: str,
        path: str,
        *,
        twice: bool = True,
        gone_is_fine: bool = False,
        **request: Any,  # noqa: ANN401 - what httpx takes
    ) -> httpx.Response:
        try:
            return self._retrying(self._once, method, path, twice, request)
        except _Again as last:
            raise last.error from last.error.__cause__
        except ApiError as error:
            if (
                gone_is_fine
                and error.status == httpx.codes.NOT_FOUND
                and self._retrying.statistics["attempt_number"] > 1
            ):
                return httpx.Response(httpx.codes.NO_CONTENT)
            raise

    def _once(self, method: str, path: str, twice: bool, request: dict[str, Any]) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **request)
        except httpx.ConnectError as error:
            raise _Again(self._silent(path, error), 0) from error
        except httpx.TransportError as error:
            silent = self._silent(path, error)
            raise (_Again(silent, 0) if twice else silent) from error
        if answer.is_success:
            return answer
        refused = _refusal(answer)
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS or (
            twice and answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
        ):
            raise _Again(refused, _seconds(answer.headers.get("Retry-After")))
        raise refused

    def _silent(self, path: str, error: httpx.TransportError) -> ApiError:
        return ApiError(f"{self._url}{path} did not answer: {error or type(error).__name__}. Does the service run?")


def _patience(state: RetryCallState) -> float:
    """Seconds to the next try: what the service asks for, else longer each time."""
    error = state.outcome.exception() if state.outcome else None
    return max(_BACKOFF(state), error.after_s if isinstance(error, _Again) else 0.0)


def _seconds(retry_after: str | None) -> float:
    """Of a Retry-After header; its form as a date is not used by the service."""
    return float(retry_after) if retry_after is not None and retry_after.isdigit() else 0.0


def _refusal(answer: httpx.Response) -> ApiError:
    """The service's own words; a proxy before it may answer in others."""
    try:
        problem = Problem.model_validate_json(answer.content)
    except ValidationError:
        return ApiError(f"HTTP {answer.status_code} {answer.reason_phrase}: {answer.text[:200]}", answer.status_code)
    words = f"HTTP {problem.status} {problem.title}: {problem.detail}"
    named = f"{words} (request {problem.instance})" if problem.instance else words
    return ApiError(named, answer.status_code, problem)


def _valid(kind: type[M], fields: Mapping[str, Any]) -> M:
    """A message in its model; what the service would refuse is refused here, in the same words."""
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}".lstrip(": ") for fault in error.errors()]
        raise ApiError(f"{kind.__name__}: {'; '.join(faults)}") from None


def _body(message: BaseModel) -> dict[str, Any]:
    return message.model_dump(exclude_none=True, exclude_unset=True)


def _form(video: NewVideo) -> dict[str, Any]:
    """A new video's fields as a form's: tags repeated, metadata as JSON."""
    fields = _body(video)
    del fields["uri"]
    return {name: json.dumps(value) if isinstance(value, dict) else value for name, value in fields.items()}


def _upload(file: Path) -> dict[str, tuple[str, bytes]]:
    """Whole in memory: a file that streams could not be sent a second time."""
    try:
        return {"file": (file.name, file.read_bytes())}
    except OSError as error:
        raise ApiError(f"{file}: {error.strerror}") from None


def _part(name: str) -> str:
    """One part of a path, whatever characters it has; httpx would take dots alone for steps up the tree."""
    return quote(name, safe="") if name.strip(".") else name.replace(".", "%2E")
