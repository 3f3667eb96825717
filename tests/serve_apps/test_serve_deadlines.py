"""Deadlines, the limit on concurrent requests, and the bounded thread pool."""

import asyncio
import threading

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from serve_apps.limits import Admission, Blocking, Deadlines, remaining
from serve_apps.problems import Busy


@pytest.fixture
def cancelled() -> list[str]:
    return []


@pytest.fixture
def client(cancelled: list[str]) -> TestClient:
    api = FastAPI()

    @api.get("/slow")
    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append("slow")
            raise

    @api.get("/left")
    async def left() -> float:
        return remaining()

    api.add_middleware(Deadlines, timeout_s=30)
    return TestClient(api)


def test_a_request_over_its_deadline_gets_504_and_is_cancelled(client: TestClient, cancelled: list[str]) -> None:
    answer = client.get("/slow", headers={"X-Request-Timeout": "0.05"})
    assert answer.status_code == answer.json()["status"] == 504
    assert answer.headers["content-type"] == "application/problem+json"
    assert cancelled == ["slow"]


@pytest.mark.parametrize(("timeout", "least", "most"), [("5", 0, 5), ("3600", 5, 30), (None, 5, 30)])
def test_handlers_see_the_remaining_time(client: TestClient, timeout: str | None, least: float, most: float) -> None:
    headers = {} if timeout is None else {"X-Request-Timeout": timeout}
    assert least < client.get("/left", headers=headers).json() <= most


@pytest.mark.parametrize("timeout", ["soon", "0", "-1", "nan", ""])
def test_an_invalid_deadline_is_refused(client: TestClient, timeout: str) -> None:
    assert client.get("/left", headers={"X-Request-Timeout": timeout}).status_code == 422


def test_a_full_pool_refuses_calls_until_there_is_room() -> None:
    pool, go = Blocking("test", threads=1, waiting=1), threading.Event()

    async def scenario() -> None:
        running, waiting = (asyncio.create_task(pool(go.wait)) for _ in range(2))
        await asyncio.sleep(0.01)
        with pytest.raises(Busy):
            await pool(go.wait)
        go.set()
        assert await running and await waiting and await pool(go.wait)

    asyncio.run(scenario())
    pool.close()


def test_a_call_cancelled_in_the_queue_is_never_made() -> None:
    pool, go, made = Blocking("test", threads=1, waiting=1), threading.Event(), list[str]()

    async def scenario() -> None:
        running = asyncio.create_task(pool(go.wait))
        waiting = asyncio.create_task(pool(made.append, "never"))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        go.set()
        await running
        await pool(made.append, "afterwards")

    asyncio.run(scenario())
    pool.close()
    assert made == ["afterwards"]


@pytest.mark.parametrize(("most_calls", "most"), [(256, 224), (64, 56), (3, 2), (1, 1)])
def test_the_service_refuses_requests_before_serve_does_but_not_health_checks(most_calls: int, most: int) -> None:
    api, go = FastAPI(), asyncio.Event()

    @api.get("/slow")
    async def slow() -> None:
        await go.wait()

    @api.get("/healthz")
    async def healthz() -> None:
        return None

    api.add_middleware(Admission, most_calls=most_calls)

    async def scenario() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://service") as client:
            accepted = [asyncio.create_task(client.get("/slow")) for _ in range(most)]
            await asyncio.sleep(0.05)
            refused, health = await client.get("/slow"), await client.get("/healthz")
            assert refused.status_code == 429 and refused.headers["Retry-After"] == "1"
            assert refused.headers["content-type"] == "application/problem+json"
            assert health.status_code == 200
            go.set()
            assert [(await answer).status_code for answer in accepted] == [200] * most
            assert (await client.get("/slow")).status_code == 200

    asyncio.run(scenario())
