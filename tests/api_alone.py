"""The API in the process of a test, without Serve and without encoders."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import uvicorn
from ray.serve.exceptions import RayServeException
from starlette.types import ASGIApp

from ports import free_port
from rayreel.settings import Settings
from serve_apps.api import make_api
from serve_apps.encoding import Encoding
from serve_apps.service import Service


class NoEncoders(Encoding):
    """Calls of an encode deployment that does not exist."""

    def __init__(self) -> None:
        pass

    async def __call__(self, method: str, *args: object) -> NoReturn:
        raise RayServeException("there are no encoders")

    async def everywhere(self, method: str, *args: object) -> NoReturn:
        await self(method, *args)


async def announce() -> None:
    """Do nothing: there is no other replica."""


@contextmanager
def served(settings: Settings, *, keys: bool = False, encoders: Encoding | None = None) -> Iterator[str]:
    """The URL of the API on a server of its own, which needs keys or none. Its videos have no originals."""
    settings = settings.model_copy(update={"serve": settings.serve.model_copy(update={"require_keys": keys})})
    with running(make_api(Service(settings, encoders or NoEncoders(), announce, []), 256)) as url:
        yield url


@contextmanager
def running(api: ASGIApp) -> Iterator[str]:
    """The URL of a server in a thread of this process."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(api, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while thread.is_alive() and not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
