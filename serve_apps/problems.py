"""Errors as application/problem+json."""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, RayServeException
from starlette.exceptions import HTTPException

from rayreel.client.messages import Problem
from rayreel.errors import RayreelError
from rayreel.events.config import EventsUnavailable
from rayreel.events.writer import QueueFull
from rayreel.index.config import CollectionGone, IndexUnavailable
from rayreel.index.filters import BadFilter
from rayreel.index.search import NoRelease
from rayreel.recommendation.live import UnknownVideo
from rayreel.recommendation.query import BadQuery
from rayreel.release.gates import PromotionRefused
from rayreel.release.lease import Held
from rayreel.release.rollback import NothingBefore
from rayreel.release.webhook import BadDelivery
from rayreel.tower.embed import EmptyQuery

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = {"Retry-After": "1"}


class Busy(RayreelError):
    """Too many requests are waiting."""


class NotFound(RayreelError):
    """There is no object of the requested name."""


class BadVideo(RayreelError):
    """The video cannot be used."""


class BadEvent(RayreelError):
    """The body has no event."""


class Unavailable(RayreelError):
    """A part of the service that the request needs is unavailable for the moment."""


# Errors whose messages are for the client.
_PUBLIC: dict[type[Exception], int] = {
    BadDelivery: 401,
    UnknownVideo: 404,
    NotFound: 404,
    NothingBefore: 409,
    PromotionRefused: 409,
    Held: 409,
    BadFilter: 422,
    BadQuery: 422,
    BadEvent: 422,
    BadVideo: 422,
    EmptyQuery: 422,
    Busy: 429,
    QueueFull: 429,
    NoRelease: 503,
    CollectionGone: 503,
    Unavailable: 503,
}
# Errors whose messages may contain internal addresses and paths: they are only logged.
_INTERNAL: dict[type[Exception], tuple[int, str]] = {
    BackPressureError: (429, "The encoders are busy and their queue is full. Try again later."),
    IndexUnavailable: (503, "The index does not answer. Try again later."),
    EventsUnavailable: (503, "The event store does not answer. Try again later."),
    RayActorError: (503, "A part of the service is restarting. Try again later."),
    RayServeException: (503, "A part of the service is not running. Try again later."),
    RayreelError: (503, "The service cannot answer this request now. See its logs for the cause."),
}


def problem(status: int, detail: str, request: Request | None = None, **more: Any) -> JSONResponse:  # noqa: ANN401
    """Return a response with problem details; with Retry-After for 429 and 503."""
    instance = None if request is None else getattr(request.state, "request_id", None)
    content = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, instance=instance, **more)
    headers = RETRY_AFTER if status in {429, 503} else None
    return JSONResponse(content.model_dump(exclude_none=True), status, headers, media_type=MEDIA_TYPE)


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of the errors that a route may return."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def install(api: FastAPI) -> None:
    """Convert all expected errors to problem details. `Identified` handles unexpected ones."""
    api.add_exception_handler(RequestValidationError, _invalid)
    api.add_exception_handler(HTTPException, _http)
    for kind in _PUBLIC:
        api.add_exception_handler(kind, _public)
    for kind in _INTERNAL:
        api.add_exception_handler(kind, _internal)


def _message(error: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    return str(error["msg"]).removeprefix("Value error, ")


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = [{"where": ".".join(map(str, e["loc"])), "what": _message(e)} for e in error.errors()]
    return problem(422, "; ".join(f"{e['where']}: {e['what']}" for e in found), request, errors=found)


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, str(error.detail), request)


async def _public(request: Request, error: Exception) -> JSONResponse:
    status = next(status for kind, status in _PUBLIC.items() if isinstance(error, kind))
    return problem(status, str(getattr(error, "cause", error)), request)


async def _internal(request: Request, error: Exception) -> JSONResponse:
    status, detail = next(found for kind, found in _INTERNAL.items() if isinstance(error, kind))
    log.warning("%s %s: %s", request.method, request.url.path, getattr(error, "cause", error))
    return problem(status, detail, request)
