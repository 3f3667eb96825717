"""Blocking calls in a thread pool with a bounded queue."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from serve_apps.problems import Busy

T = TypeVar("T")
P = ParamSpec("P")


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
