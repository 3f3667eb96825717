"""The border around the HTTP API: request ids, keys, rates, body sizes, security headers.

Plain ASGI, outermost first: Identified, CORS, Guarded, BodyLimit. The fast path has 100 µs in all; these take a few.
"""

import math
import time

from fastapi import FastAPI
from ray.serve.context import _get_global_client
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
from rayreel.settings import Settings
from serve_apps.identified import Headers, Identified, behind_serve
from serve_apps.nearby import forwarded_by, is_for_this_machine, is_from_another_site
from serve_apps.openapi import describe_border
from serve_apps.problems import problem
from serve_apps.refusing import drain, refuse
from serve_apps.scopes import scope_of

_CREATE = (
    "Create a key with `python jobs/keys.py create NAME --scope write` and send it as `Authorization: Bearer rr_…`"
)
_PASSED_ON = (
    "A proxy passed this request on ({sign}), so it may come from anywhere. Without keys the service answers only this "
    f"machine. {_CREATE}."
)
_ANOTHER_NAME = (
    "The Host header names another machine than this one. Without keys the service answers at 127.0.0.1 and localhost "
    f"only. {_CREATE}, and set serve.require_keys=true."
)
_ANOTHER_SITE = "Without keys only pages of this machine may send anything, and those named in serve.cors_origins."


def protect(app: FastAPI, settings: Settings, host: str | None = None) -> None:
    """Put the border around an application; call it last, once all other middleware is there.

    `host` is the address that is listened on; unset, Ray Serve is asked when the application starts.
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
    describe_border(app)


class Guarded:
    """Lets in requests with a key that allows them, not too often. This machine alone needs none on loopback."""

    def __init__(self, app: ASGIApp, settings: Settings, host: str | None = None) -> None:
        config = settings.serve
        self.app = app
        self.needs_keys = config.needs_keys(host or _listening_on())
        self.this_machine_only = config.require_keys == "auto" and not self.needs_keys
        self.origins = {origin.encode() for origin in config.cors_origins}
        self.keys = WatchedKeys(KeyFile(settings.place, config.keys_file), config.refresh_s)
        self.bucket = TokenBucket(config.rate_per_s, config.burst)

    async def __call__(self, connection: Connection, receive: Receive, send: Send) -> None:
        """Pass one request on, or refuse it: 401, 403, 429."""
        if connection["type"] == "lifespan":
            await self.app(connection, receive, send)
        elif connection["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        elif (refusal := await self._judge(connection)) is not None:
            await refusal(connection, receive, send)
        else:
            await self.app(connection, receive, send)

    async def _judge(self, connection: Connection) -> Response | None:
        """Why a request is not let in; None lets it in."""
        if self.needs_keys:
            return await self._without_key(connection)
        if not self.this_machine_only:
            return None
        if (sign := forwarded_by(connection)) is None:
            return self._from_elsewhere(connection)
        # What comes through a proxy comes from anywhere: as everywhere else, a key opens.
        if not _presented(connection["headers"]):
            return problem(403, _PASSED_ON.format(sign=sign), Request(connection))
        return await self._without_key(connection)

    async def _without_key(self, connection: Connection) -> Response | None:
        """The refusal of a request whose key does not count, does not suffice or asks too often."""
        needed = scope_of(connection["method"], connection["path"].removeprefix(connection.get("root_path", "")))
        if needed is None:
            return None
        try:
            ring = await self.keys.current()
        except BadKeys as error:
            return problem(503, str(error), Request(connection))
        key = ring.check(_presented(connection["headers"]), time.time())
        if key is None:
            words = "This needs an API key that counts: `Authorization: Bearer rr_…` or `X-API-Key: rr_…`."
            return _with(problem(401, words, Request(connection)), "WWW-Authenticate", "Bearer")
        connection.setdefault("state", {})["key_id"] = key.id
        if (wait := self.bucket.take(key.id, time.monotonic())) > 0:
            again = problem(429, "This key asks too often.", Request(connection))
            return _with(again, "Retry-After", str(math.ceil(wait)))
        if key.scope < needed:
            return problem(403, _lacking(key.scope, needed), Request(connection))
        return None

    def _from_elsewhere(self, connection: Connection) -> Response | None:
        """The refusal of a web page's request: browsers of this machine send them too, also to names that lead here."""
        if not is_for_this_machine(connection["headers"]):
            return problem(403, _ANOTHER_NAME, Request(connection))
        if is_from_another_site(connection, self.origins):
            return problem(403, _ANOTHER_SITE, Request(connection))
        return None


class BodyLimit:
    """Refuses bodies over the limit, whatever length they declare."""

    def __init__(self, app: ASGIApp, config: ServeConfig) -> None:
        self.app, self.config = app, config

    async def __call__(self, connection: Connection, receive: Receive, send: Send) -> None:
        """Pass one request on, and 413 in the middle of its body if need be."""
        if connection["type"] != "http" or connection["method"] in {"GET", "HEAD", "OPTIONS"}:
            await self.app(connection, receive, send)
            return
        headers = dict(connection["headers"])
        upload = headers.get(b"content-type", b"").lower().startswith(b"multipart/form-data")
        limit = self.config.max_body_bytes if upload else self.config.max_json_bytes
        words = f"The body is larger than {limit:,} bytes."
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > limit:
            await refuse(problem(413, words, Request(connection)), connection, receive, send)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit:
                await drain(receive)
                raise HTTPException(413, words)
            return message

        await self.app(connection, counted, send)


def _presented(headers: Headers) -> str:
    """The key that a request shows; empty when it shows none."""
    for name, value in headers:
        if name == b"x-api-key":
            return value.decode("latin-1").strip()
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return value[7:].decode("latin-1").strip()
    return ""


def _with(answer: Response, name: str, value: str) -> Response:
    answer.headers[name] = value
    return answer


def _lacking(scope: Scope, needed: Scope) -> str:
    return f"This needs a key of scope {needed.name.lower()}; this one's is {scope.name.lower()}."


def _listening_on() -> str | None:
    """The address that Serve listens on; None when there is no Serve to ask."""
    if not behind_serve():
        return None
    client = _get_global_client(raise_if_no_controller_running=False)  # `serve.status()` tells everything but this
    return None if client is None else client.http_config.host
