"""Security middleware of the HTTP API: request ids, API keys, rates, body sizes, security headers.

Plain ASGI, outermost first: Identified, CORS, Guarded, BodyLimit. They take a few of the 100 µs of a fast-path request.
"""

import math
import time
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Connection

from rayreel.access.config import ServeConfig
from rayreel.access.keyfile import KeyFile, WatchedKeys
from rayreel.access.keys import BadKeys, Scope
from rayreel.access.rate import TokenBucket
from rayreel.client.messages import Problem
from rayreel.compat.ray_serve import listening_host
from rayreel.settings import Settings
from serve_apps.identified import Headers, Identified, behind_serve
from serve_apps.nearby import forwarded_by, is_for_this_machine, is_from_another_site
from serve_apps.problems import answers, problem
from serve_apps.refusing import drain, refuse
from serve_apps.scopes import scope_of

_CREATE = "Create a key with `rayreel keys create NAME --scope write` and send it as `Authorization: Bearer rr_…`"
_FORWARDED = (
    "A proxy forwarded this request ({sign}), so it may come from anywhere. Without keys the service only answers "
    f"requests from this machine. {_CREATE}."
)
_ANOTHER_NAME = (
    "The Host header does not name this machine. Without keys the service only answers at 127.0.0.1 and localhost. "
    f"{_CREATE}, and set serve.require_keys=true."
)
_ANOTHER_SITE = (
    "Another site's page sent this request. Without keys only pages of this machine and of serve.cors_origins may send "
    f"requests that change something. {_CREATE}, or add the site to serve.cors_origins."
)
# Set by the page on sign-in, for this site only and until the browser ends. Never enough to change anything.
COOKIE = "rayreel_key"
_STATUSES = (400, 401, 403, 413, 429, 500, 503)


def protect(app: FastAPI, settings: Settings, host: str | None = None) -> None:
    """Add the security middleware to an application. Call it after all other middleware has been added.

    `host` is the address that the service listens on; by default that of Ray Serve.
    """
    app.add_middleware(BodyLimit, config=settings.serve)
    app.add_middleware(Guarded, settings=settings, host=host)
    if settings.serve.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.serve.cors_origins,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=("Authorization", "X-API-Key", "Content-Type", "X-Request-Id", "X-Request-Timeout"),
            expose_headers=("X-Request-Id", "Retry-After", "Location"),
        )
    app.add_middleware(Identified)
    describe_middleware(app)


class Guarded:
    """Checks API keys, their scopes and their rates. On loopback, requests from this machine need no key."""

    def __init__(self, app: ASGIApp, settings: Settings, host: str | None = None) -> None:
        config = settings.serve
        self.app = app
        # Outside Serve, this process listens on no address.
        self.needs_keys = config.needs_keys(host or (listening_host() if behind_serve() else None))
        self.this_machine_only = config.require_keys == "auto" and not self.needs_keys
        self.origins = {origin.encode() for origin in config.cors_origins}
        self.keys = WatchedKeys(KeyFile(settings.place, config.keys_file), config.refresh_s)
        self.bucket = TokenBucket(config.rate_per_s, config.burst)

    async def __call__(self, connection: Connection, receive: Receive, send: Send) -> None:
        """Pass a request on, or respond 401, 403, 429 or 503."""
        if connection["type"] == "lifespan":
            await self.app(connection, receive, send)
        elif connection["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        elif (refusal := await self._check(connection)) is not None:
            await refusal(connection, receive, send)
        else:
            await self.app(connection, receive, send)

    async def _check(self, connection: Connection) -> Response | None:
        """Return the response to a request that is refused, None if it is allowed."""
        if self.needs_keys:
            return await self._check_key(connection)
        if not self.this_machine_only:
            return None
        if (sign := forwarded_by(connection)) is None:
            return self._check_browser(connection)
        # A forwarded request may come from anywhere, so it needs a key.
        if not _key_of(connection):
            return problem(403, _FORWARDED.format(sign=sign), Request(connection))
        return await self._check_key(connection)

    async def _check_key(self, connection: Connection) -> Response | None:
        """Check the key's validity, scope and rate."""
        needed = scope_of(connection["method"], connection["path"].removeprefix(connection.get("root_path", "")))
        if needed is None:
            return None
        try:
            ring = await self.keys.current()
        except BadKeys as error:
            return problem(503, str(error), Request(connection))
        key = ring.check(_key_of(connection), time.time())
        if key is None:
            detail = "This needs a valid API key: `Authorization: Bearer rr_…` or `X-API-Key: rr_…`."
            return _with(problem(401, detail, Request(connection)), "WWW-Authenticate", "Bearer")
        connection.setdefault("state", {})["key_id"] = key.id
        if (wait := self.bucket.take(key.id, time.monotonic())) > 0:
            refusal = problem(429, "This key exceeds its request rate. Try again later.", Request(connection))
            return _with(refusal, "Retry-After", str(math.ceil(wait)))
        if key.scope < needed:
            return problem(403, _insufficient(key.scope, needed), Request(connection))
        return None

    def _check_browser(self, connection: Connection) -> Response | None:
        """Refuse requests from other sites' pages, which may use any name that resolves to this machine."""
        if not is_for_this_machine(connection["headers"]):
            return problem(403, _ANOTHER_NAME, Request(connection))
        if is_from_another_site(connection, self.origins):
            return problem(403, _ANOTHER_SITE, Request(connection))
        return None


class BodyLimit:
    """Refuses bodies over the limit, regardless of their declared length."""

    def __init__(self, app: ASGIApp, config: ServeConfig) -> None:
        self.app, self.config = app, config

    async def __call__(self, connection: Connection, receive: Receive, send: Send) -> None:
        """Pass a request on; respond 413 as soon as its body exceeds the limit."""
        if connection["type"] != "http" or connection["method"] in {"GET", "HEAD", "OPTIONS"}:
            await self.app(connection, receive, send)
            return
        headers = dict(connection["headers"])
        upload = headers.get(b"content-type", b"").lower().startswith(b"multipart/form-data")
        limit = self.config.max_body_bytes if upload else self.config.max_json_bytes
        detail = f"The body is larger than {limit:,} bytes."
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > limit:
            await refuse(problem(413, detail, Request(connection)), connection, receive, send)
            return
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                if message.get("more_body"):
                    await drain(receive)
                raise HTTPException(413, detail)
            return message

        await self.app(connection, receive_counted, send)


def _key_of(connection: Connection) -> str:
    """Return the key of a request; empty if it has none.

    The page's pictures and videos are loaded by elements that cannot send a header, so a cookie is enough to read.
    """
    headers: Headers = connection["headers"]
    for name, value in headers:
        if name == b"x-api-key":
            return value.decode("latin-1").strip()
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return value[7:].decode("latin-1").strip()
    return Request(connection).cookies.get(COOKIE, "") if connection["method"] in {"GET", "HEAD"} else ""


def _with(response: Response, name: str, value: str) -> Response:
    response.headers[name] = value
    return response


def _insufficient(scope: Scope, needed: Scope) -> str:
    return f"This needs a key with the scope {needed.name.lower()}; this key has the scope {scope.name.lower()}."


def describe_middleware(app: FastAPI) -> None:
    """Add API keys and the errors of the middleware to the application's OpenAPI description."""
    make = app.openapi

    def described() -> dict[str, Any]:
        schema = make()
        parts = schema.setdefault("components", {})
        parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "rr_…"}}
        parts.setdefault("schemas", {}).setdefault("Problem", Problem.model_json_schema())
        refusals = {str(status): answer for status, answer in answers(*_STATUSES).items()}
        for path, operations in schema["paths"].items():
            for method, operation in operations.items():
                operation["responses"] = {**refusals, **operation["responses"]}
                # FastAPI's default description, which does not match our handler.
                if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                    operation["responses"]["422"] = answers(422)[422]
                if scope_of(method.upper(), path) is not None:
                    operation["security"] = [{"key": []}, {}]
        return schema

    app.openapi = described  # type: ignore[method-assign]
