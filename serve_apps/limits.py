"""Limits of requests: the time that each has, the number of concurrent ones, and the queue of blocking calls."""

import asyncio
import contextvars
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from typing import ParamSpec, TypeVar

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_apps.problems import Busy, problem

HEADER = b"x-request-timeout"
# Set in the scope of a request whose response may take as long as its client reads.
STREAMED = "rayreel_streamed"
_DEADLINE: ContextVar[float] = ContextVar("deadline", default=math.inf)
# Health checks are needed most under load.
_UNLIMITED = {"/healthz", "/readyz"}
T = TypeVar("T")
P = ParamSpec("P")


def remaining() -> float:
    """Return the remaining seconds of the current request; infinite outside of one."""
    deadline = _DEADLINE.get()
    return math.inf if deadline == math.inf else deadline - asyncio.get_running_loop().time()


class Deadlines:
    """ASGI: responds 504 to requests that take longer than `timeout_s` or their X-Request-Timeout header (seconds)."""

    def __init__(self, app: ASGIApp, timeout_s: float) -> None:
        self.app, self.timeout_s = app, timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with a deadline."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        seconds = self._seconds(scope)
        if seconds is None:
            detail = f"X-Request-Timeout: expected seconds above 0; the limit is {self.timeout_s:g}."
            await problem(422, detail, Request(scope))(scope, receive, send)
            return
        started = False

        async def send_watched(message: Message) -> None:
            nonlocal started
            started = True
            if scope.get(STREAMED):
                deadline.reschedule(None)
            await send(message)

        try:
            async with asyncio.timeout(seconds) as deadline:
                _DEADLINE.set(deadline.when() or math.inf)
                await self.app(scope, receive, send_watched)
        except TimeoutError:
            if started or not deadline.expired():
                raise
            detail = f"No response within {seconds:g} s. The request was cancelled."
            await problem(504, detail, Request(scope))(scope, receive, send)

    def _seconds(self, scope: Scope) -> float | None:
        for name, value in scope["headers"]:
            if name == HEADER:
                return self._parse(value.decode("latin-1"))
        return self.timeout_s

    def _parse(self, text: str) -> float | None:
        try:
            seconds = float(text)
        except ValueError:
            return None
        return min(seconds, self.timeout_s) if seconds > 0 else None


class Admission:
    """ASGI: responds 429 with Retry-After while 7/8 of `most_calls` requests are in progress.

    At `most_calls`, Serve itself would refuse requests with a plain-text response.
    """

    def __init__(self, app: ASGIApp, most_calls: int) -> None:
        self.app, self.most, self.ongoing = app, max(1, most_calls * 7 // 8), 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or respond 429."""
        if scope["type"] != "http" or scope["path"] in _UNLIMITED:
            await self.app(scope, receive, send)
            return
        if self.ongoing >= self.most:
            await problem(429, "The service is at its limit of concurrent requests. Try again later.", Request(scope))(
                scope, receive, send
            )
            return
        self.ongoing += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.ongoing -= 1


class Blocking:
    """A pool of threads with a bounded queue. A call that is cancelled while it is queued is never made."""

    def __init__(self, name: str, threads: int, waiting: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._most = threads + waiting
        self.ongoing = 0

    async def __call__(self, call: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Make a call and return its result. Raises Busy if the queue is full."""
        if self.ongoing >= self._most:
            raise Busy("Too many requests are waiting. Try again later.")
        self.ongoing += 1
        try:
            context = contextvars.copy_context()  # log lines of the thread get the request id too
            future = asyncio.get_running_loop().run_in_executor(
                self._pool, partial(context.run, call, *args, **options)
            )
            return await future
        finally:
            self.ongoing -= 1

    def close(self) -> None:
        """Accept no more calls. Running calls are completed, queued ones cancelled."""
        self._pool.shutdown(wait=False, cancel_futures=True)
