"""The limits of a replica follow its settings."""

import asyncio
import threading
import time
from pathlib import Path

import pytest

from rayreel.settings import load_settings
from serve_apps.encoding import Encoding
from serve_apps.problems import Busy, Unavailable
from serve_apps.service import Service


class SilentEncoders(Encoding):
    """Calls of an encode deployment that never answers."""

    def __init__(self) -> None:
        pass

    async def __call__(self, method: str, *args: object) -> None:
        await asyncio.Event().wait()

    async def everywhere(self, method: str, *args: object) -> None:
        await self(method, *args)


async def _announce() -> None:
    """Do nothing: there is no other replica."""


def service_with(folder: Path, *sets: str) -> Service:
    return Service(load_settings(sets=sets, storage=str(folder)), SilentEncoders(), _announce, [])


def test_threads_and_queues_follow_the_settings(tmp_path: Path) -> None:
    sets = ("search_threads=1", "queued_searches=2", "write_threads=2", "queued_writes=0")
    service = service_with(tmp_path, *(f"serve.{one}" for one in sets))

    async def scenario() -> None:
        for pool, most in ((service.searching, 3), (service.writing._threads, 2)):
            go = threading.Event()
            accepted = [asyncio.create_task(pool(go.wait)) for _ in range(most)]
            await asyncio.sleep(0)
            with pytest.raises(Busy):
                await pool(go.wait)
            go.set()
            assert all(await asyncio.gather(*accepted))

    asyncio.run(scenario())


def test_the_cache_of_responses_follows_the_settings(tmp_path: Path) -> None:
    for size, kept in ((10_000, b"answer"), (0, None)):
        answers = service_with(tmp_path, f"serve.cache_bytes={size}").state.answers
        answers.switch("state")
        answers.put("state", b"query", b"answer")
        assert answers.get("state", b"query") == kept


def test_requests_and_switches_wait_as_long_as_the_settings_say(tmp_path: Path) -> None:
    service = service_with(tmp_path, "serve.index_wait_s=0.1", "serve.tower_wait_s=0.1")

    async def scenario() -> None:
        start = time.monotonic()
        with pytest.raises(Unavailable, match="index does not answer"):
            await service.state.index()
        await service.load_tower(1)
        assert 0.2 <= time.monotonic() - start < 4
        assert service.no_tower == "The encoders cannot load the tower of the serving release."

    asyncio.run(scenario())
