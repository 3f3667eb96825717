"""A client for the HTTP API."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from rayreel.client.events import DeletionReceipt, Event, EventBatch, Person, StoredEvents
from rayreel.client.messages import (
    Deleted,
    Embeddings,
    NewVideo,
    Problem,
    Recommendations,
    RecommendRequest,
    UploadQuery,
    User,
    Video,
    VideoPage,
)
from rayreel.client.operation import Job, Ready, Release
from rayreel.errors import RayreelError

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
_BACKOFF = wait_exponential_jitter(initial=0.1, max=5, jitter=0.1)


class ApiError(RayreelError):
    """A request is invalid, was rejected, failed or got no response. Without a response, `status` is None."""

    def __init__(self, message: str, status: int | None = None, problem: Problem | None = None) -> None:
        super().__init__(message)
        self.status, self.problem = status, problem

    @property
    def request_id(self) -> str | None:
        """The id of the request in the service's logs."""
        return self.problem.instance if self.problem else None


class _Retryable(Exception):
    """A request that may be retried after `after_s` seconds."""

    def __init__(self, error: ApiError, after_s: float) -> None:
        super().__init__(str(error))
        self.error, self.after_s = error, after_s


class Client:
    """A client for one service with a connection pool. Thread-safe; close it, or use it in a `with` block.

    Requests are retried up to `retries` times after connection errors, 429 and 503, with exponential backoff and not
    before the time in Retry-After. Requests that add something are retried only if the service cannot have started to
    process them. All methods raise ApiError.

    >>> with Client("http://localhost:8000") as service:
    ...     service.recommend(video_id="waves", top_k=500)  # checked before it is sent
    Traceback (most recent call last):
    rayreel.client.client.ApiError: RecommendRequest: top_k: Input should be less than or equal to 200
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
            retry=retry_if_exception(lambda error: isinstance(error, _Retryable)),
            stop=stop_after_attempt(retries + 1),
            wait=_wait_s,
            reraise=True,
        )

    def recommend(
        self,
        *,
        video_id: str | None = None,
        text: str | None = None,
        embedding: Iterable[float] | None = None,
        user: User | Mapping[str, Any] | None = None,
        top_k: int = 10,
        **options: Any,  # noqa: ANN401 - the fields of RecommendOptions
    ) -> Recommendations:
        """Recommend videos for exactly one of video_id, text, embedding and user.

        `options` are the fields of `RecommendOptions`, such as filter or diversity.
        """
        numbers = None if embedding is None else [float(number) for number in embedding]
        queries = {"video_id": video_id, "text": text, "embedding": numbers, "user": user}
        query = {name: value for name, value in queries.items() if value is not None}
        body = _validated(RecommendRequest, {**query, "top_k": top_k, **options})
        return self._request(Recommendations, "POST", "/v1/recommend", json=_body(body))

    def recommend_upload(
        self,
        file: Path,
        title: str = "",
        top_k: int = 10,
        **options: Any,  # noqa: ANN401 - the fields of RecommendOptions
    ) -> Recommendations:
        """Recommend videos similar to a file, which the service does not store. `options` are as in `recommend`."""
        query = _validated(UploadQuery, {"title": title, "top_k": top_k, **options})
        return self._request(Recommendations, "POST", "/v1/recommend/upload", data=_form(query), files=_upload(file))

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Return the embeddings of up to 64 texts, in the same order."""
        return self._request(Embeddings, "POST", "/v1/embed", json={"texts": list(texts)})

    def embed_upload(self, file: Path, title: str = "") -> Embeddings:
        """Return the embedding of a file, which the service does not store."""
        return self._request(Embeddings, "POST", "/v1/embed/upload", data={"title": title}, files=_upload(file))

    def add_video(self, source: str | Path, **fields: Any) -> Video:  # noqa: ANN401 - the fields of NewVideo
        """Add a video by its URI (str) or upload a file (Path); `fields` are those of `NewVideo`."""
        if isinstance(source, str):
            body = _validated(NewVideo, {"uri": source, **fields})
            return self._request(Video, "POST", "/v1/videos", repeatable=False, json=_body(body))
        body = _validated(NewVideo, {"uri": source.name, **fields})
        form = _form(body, without=("uri",))
        return self._request(Video, "POST", "/v1/videos", repeatable=False, data=form, files=_upload(source))

    def add_catalog(self, catalog: str) -> Job:
        """Start a job that adds the videos of a catalog. Its status is QUEUED while another job is running."""
        return self._request(Job, "POST", "/v1/videos/batch", repeatable=False, json={"catalog": catalog})

    def job(self, job_id: str) -> Job:
        """Return the status of a job."""
        return self._request(Job, "GET", f"/v1/jobs/{_part(job_id)}")

    def cancel_job(self, job_id: str) -> None:
        """Remove a job from the queue or stop it. Videos that it has already added are kept."""
        self._send("DELETE", f"/v1/jobs/{_part(job_id)}")

    def send_events(self, events: Iterable[Event | Mapping[str, Any]]) -> StoredEvents:
        """Store up to 1000 events. Events with an `event_id` are stored once, however often they are sent."""
        rows = [event if isinstance(event, Event) else _validated(Event, event) for event in events]
        body = _validated(EventBatch, {"events": [_body(row) for row in rows]})
        return self._request(StoredEvents, "POST", "/v1/events", repeatable=_once(rows), json=_body(body))

    def user(self, user_id: str) -> Person:
        """Return everything that is kept of a user. Raises ApiError with status 404 if nothing is."""
        path, found = f"/v1/users/{_part(user_id)}", list[Person]()
        while not found or found[-1].next_cursor is not None:
            cursor = {"cursor": found[-1].next_cursor} if found else {}
            found.append(self._request(Person, "GET", path, params=cursor))
        return found[0].model_copy(update={"events": [e for part in found for e in part.events], "next_cursor": None})

    def delete_user(self, user_id: str) -> DeletionReceipt:
        """Delete everything that is kept of a user. Needs a key with the scope admin."""
        return self._request(DeletionReceipt, "DELETE", f"/v1/users/{_part(user_id)}", repeatable=False)

    def videos(self, page: int = 100) -> Iterator[Video]:
        """Iterate over all videos, sorted by id; requests `page` videos at a time."""
        cursor: dict[str, str] = {}
        while True:
            response = self._request(VideoPage, "GET", "/v1/videos", params={"limit": str(page), **cursor})
            yield from response.videos
            if response.next_cursor is None:
                return
            cursor = {"cursor": response.next_cursor}

    def video(self, video_id: str) -> Video:
        """Return a video."""
        return self._request(Video, "GET", f"/v1/videos/{_part(video_id)}")

    def delete_video(self, video_id: str) -> None:
        """Delete a video. A 404 after a retry is not an error: the first attempt deleted it."""
        self._send("DELETE", f"/v1/videos/{_part(video_id)}", missing_ok_on_retry=True)

    def delete_all_videos(self, confirm: str) -> int:
        """Delete all videos and return their number. `confirm` must be `delete-all-videos`."""
        return self._request(Deleted, "DELETE", "/v1/videos", params={"confirm": confirm}).deleted

    def release(self) -> Release:
        """Return the release that is being served."""
        return self._request(Release, "GET", "/v1/release")

    def releases(self) -> list[Release]:
        """Return all recorded releases."""
        return self._request(list[Release], "GET", "/v1/releases")

    def ready(self) -> Ready:
        """Return the state of the service. Raises ApiError with status 503 while it is not ready."""
        return self._request(Ready, "GET", "/readyz")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def _request(
        self,
        kind: type[T],
        method: str,
        path: str,
        *,
        repeatable: bool = True,
        **request: Any,  # noqa: ANN401 - arguments of httpx
    ) -> T:
        response = self._send(method, path, repeatable=repeatable, **request)
        try:
            return TypeAdapter(kind).validate_json(response.content)
        except ValidationError as error:
            message = f"{self._url}{path} did not return a valid {kind.__name__}: {error}"
            raise ApiError(message, response.status_code) from None

    def _send(
        self,
        method: str,
        path: str,
        *,
        repeatable: bool = True,
        missing_ok_on_retry: bool = False,
        **request: Any,  # noqa: ANN401 - arguments of httpx
    ) -> httpx.Response:
        try:
            return self._retrying(self._attempt, method, path, repeatable, request)
        except _Retryable as last:
            raise last.error from last.error.__cause__
        except ApiError as error:
            if (
                missing_ok_on_retry
                and error.status == httpx.codes.NOT_FOUND
                and self._retrying.statistics["attempt_number"] > 1
            ):
                return httpx.Response(httpx.codes.NO_CONTENT)
            raise

    def _attempt(self, method: str, path: str, repeatable: bool, request: dict[str, Any]) -> httpx.Response:
        try:
            response = self._http.request(method, path, **request)
        except httpx.ConnectError as error:
            raise _Retryable(self._no_response(path, error), 0) from error
        except httpx.TransportError as error:
            no_response = self._no_response(path, error)
            raise (_Retryable(no_response, 0) if repeatable else no_response) from error
        if response.is_success:
            return response
        rejection = _error_of(response)
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS or (
            repeatable and response.status_code == httpx.codes.SERVICE_UNAVAILABLE
        ):
            raise _Retryable(rejection, _seconds(response.headers.get("Retry-After")))
        raise rejection

    def _no_response(self, path: str, error: httpx.TransportError) -> ApiError:
        cause = str(error) or type(error).__name__
        return ApiError(f"{self._url}{path} did not respond: {cause}. Check the URL and that the service is running.")


def _once(events: Iterable[Event]) -> bool:
    """Whether events may be sent again: without an id and a time, they would be new events."""
    return all(event.event_id is not None or event.at is not None for event in events)


def _wait_s(state: RetryCallState) -> float:
    """Return the seconds to the next attempt: exponential backoff, but at least the time in Retry-After."""
    error = state.outcome.exception() if state.outcome else None
    return max(_BACKOFF(state), error.after_s if isinstance(error, _Retryable) else 0.0)


def _seconds(retry_after: str | None) -> float:
    """Return the seconds of a Retry-After header, or 0. The service never sends it as a date."""
    return float(retry_after) if retry_after is not None and retry_after.isdigit() else 0.0


def _error_of(response: httpx.Response) -> ApiError:
    """Return the error of a response: the service's problem details, or the text of a proxy's response."""
    status = response.status_code
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        return ApiError(f"HTTP {status} {response.reason_phrase}: {response.text[:200]}", status)
    message = f"HTTP {problem.status} {problem.title}: {problem.detail}"
    message = f"{message} (request {problem.instance})" if problem.instance else message
    return ApiError(message, status, problem)


def _validated(kind: type[M], fields: Mapping[str, Any]) -> M:
    """Validate a message before sending it, with the same rules as the service."""
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        errors = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}".lstrip(": ") for item in error.errors()]
        raise ApiError(f"{kind.__name__}: {'; '.join(errors)}") from None


def _body(message: BaseModel) -> dict[str, Any]:
    return message.model_dump(exclude_none=True, exclude_unset=True)


def _form(message: BaseModel, without: Collection[str] = ()) -> dict[str, Any]:
    """Return a message as form fields: lists are repeated, objects are JSON."""
    fields = {name: value for name, value in _body(message).items() if name not in without}
    return {name: json.dumps(value) if isinstance(value, dict) else value for name, value in fields.items()}


def _upload(file: Path) -> dict[str, tuple[str, bytes]]:
    """Read a file into memory; a stream could not be sent again in a retry."""
    try:
        return {"file": (file.name, file.read_bytes())}
    except OSError as error:
        raise ApiError(f"{file}: {error.strerror}") from None


def _part(name: str) -> str:
    """Quote a path segment. Segments of only dots are encoded too, because httpx would resolve them."""
    return quote(name, safe="") if name.strip(".") else name.replace(".", "%2E")
