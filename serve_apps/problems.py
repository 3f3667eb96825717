"""Errors as application/problem+json."""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from ray.serve.exceptions import BackPressureError
from starlette.exceptions import HTTPException

from rayreel.errors import RayreelError
from rayreel.index.config import IndexUnavailable
from rayreel.index.search import NoRelease, UnknownVideo
from serve_apps.messages import Problem

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}}
    for status in (404, 413, 422, 503)
}
_STATUS: dict[type[Exception], int] = {UnknownVideo: 404, NoRelease: 503, IndexUnavailable: 503, RayreelError: 503}


def problem(status: int, detail: str, **more: Any) -> JSONResponse:  # noqa: ANN401
    """A response of problem details; 503 and 429 say when to come again."""
    content = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, **more)
    headers = {"Retry-After": "1"} if status in {429, 503} else None
    return JSONResponse(content.model_dump(exclude_none=True), status, headers, media_type=MEDIA_TYPE)


def install(api: FastAPI) -> None:
    """Let every error of the API leave as a problem, without traces."""
    api.add_exception_handler(RequestValidationError, _invalid)
    api.add_exception_handler(HTTPException, _http)
    api.add_exception_handler(BackPressureError, _busy)
    api.add_exception_handler(RayreelError, _known)
    api.add_exception_handler(Exception, _unknown)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    errors = [{"where": ".".join(map(str, e["loc"])), "what": str(e["msg"])} for e in error.errors()]
    return problem(422, "; ".join(f"{e['where']}: {e['what']}" for e in errors), errors=errors)


async def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, str(error.detail))


async def _busy(_: Request, error: Exception) -> JSONResponse:
    return problem(429, "All replicas are busy and their queues are full.")


async def _known(_: Request, error: Exception) -> JSONResponse:
    status = next(status for kind, status in _STATUS.items() if isinstance(error, kind))
    return problem(status, str(getattr(error, "cause", error)))


async def _unknown(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(500, "The service failed on this request; its logs say why.")
