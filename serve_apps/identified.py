"""Request ids, security headers, and a problem response for unexpected errors."""

import logging
import re
import uuid
from typing import Any

from ray import serve
from ray.serve.exceptions import RayServeException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_apps.problems import problem

log = logging.getLogger(__name__)

Headers = list[tuple[bytes, bytes]]
REQUEST_ID = b"x-request-id"
_SANE_ID = re.compile(rb"[\w.:/+=@-]{1,128}", re.ASCII)
_CLOSE = (b"connection", b"close")
_EVERY_RESPONSE: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_API: Headers = [
    *_EVERY_RESPONSE,
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
]
# HTML pages include their own scripts; Swagger UI starts with an inline one.
_PAGE: Headers = [
    *_EVERY_RESPONSE,
    (
        b"content-security-policy",
        b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data:; media-src 'self' https:; frame-ancestors 'none'",
    ),
]


class Identified:
    """Adds an id to each request and security headers to each response; hides details of unexpected errors."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        # Serve's proxy adds the id to every response; adding it here too would make it `id, id`.
        self.echo = not behind_serve()

    async def __call__(self, connection: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if connection["type"] != "http":
            await self.app(connection, receive, send)
            return
        request_id = _request_id(connection["headers"])
        connection.setdefault("state", {})["request_id"] = request_id
        own: Headers = [(REQUEST_ID, request_id.encode())] if self.echo else []
        started, read = False, not _has_body(connection["headers"])

        async def receive_watched() -> Message:
            nonlocal read
            message = await receive()
            read = read or not message.get("more_body")
            return message

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                # Without `Connection: close` the server would wait for the rest of the body without a limit.
                message["headers"] = _completed(message.get("headers", ()), own if read else [*own, _CLOSE])
            await send(message)

        try:
            await self.app(connection, receive_watched, send_with_headers)
        except Exception:
            if started:
                raise
            log.exception("%s %s failed, request %s", connection["method"], connection["path"], request_id)
            detail = "Unexpected error. Search the logs of the service for this request id."
            await problem(500, detail, Request(connection))(connection, receive, send_with_headers)


def behind_serve() -> bool:
    """Whether this process is a replica of Ray Serve."""
    try:
        serve.get_replica_context()
    except RayServeException:
        return False
    return True


def _request_id(headers: Headers) -> str:
    """Return the request's own id if it is safe to log, else a new one."""
    for name, value in headers:
        if name == REQUEST_ID and _SANE_ID.fullmatch(value):
            return value.decode()
    return uuid.uuid4().hex


def _has_body(headers: Headers) -> bool:
    return any(name in {b"content-length", b"transfer-encoding"} and value != b"0" for name, value in headers)


def _completed(headers: Any, own: Headers) -> Headers:  # noqa: ANN401 - ASGI allows any iterable
    """Return a response's headers, with security headers that it does not set itself, and `own`."""
    there = dict(headers)
    ours = _PAGE if there.get(b"content-type", b"").startswith(b"text/html") else _API
    return [*headers, *(header for header in ours if header[0] not in there), *own]
