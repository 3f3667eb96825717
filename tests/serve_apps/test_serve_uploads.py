"""The budget that uploads share."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from starlette.types import Message

from rayreel.access.config import ServeConfig
from serve_apps.uploads import LEAST, UploadBudget

FORM = "multipart/form-data; boundary=mark"


class Held:
    """An application that reads its request and answers once `go` is set."""

    def __init__(self, budget: int) -> None:
        self.go, self.cancelled = asyncio.Event(), 0
        self.api = FastAPI()
        self.api.add_api_route("/", self.answer, methods=["POST"])
        self.api.add_middleware(UploadBudget, config=ServeConfig(max_uploads_bytes=budget, max_body_bytes=budget))

    async def answer(self, request: Request) -> int:
        size = len(await request.body())
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return size

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.api), base_url="http://service")


async def _post(client: httpx.AsyncClient, size: int | None, kind: str = FORM) -> httpx.Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield bytes(10)

    content = pieces() if size is None else bytes(size)
    return await client.post("/", content=content, headers={"Content-Type": kind})


@pytest.mark.parametrize("second", [2 * LEAST, None], ids=["declared", "undeclared"])
def test_an_upload_over_the_budget_is_refused_and_accepted_later(second: int | None) -> None:
    async def scenario() -> None:
        held = Held(budget=3 * LEAST)
        async with held.client() as client:
            first = asyncio.create_task(_post(client, 2 * LEAST))
            await asyncio.sleep(0.05)
            refused = await _post(client, second)
            assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1
            assert refused.headers["content-type"] == "application/problem+json"
            held.go.set()
            assert (await first).status_code == 200
            assert (await _post(client, second)).status_code == 200

    asyncio.run(scenario())


def test_small_uploads_leave_room_for_queries() -> None:
    async def scenario() -> None:
        held = Held(budget=3 * LEAST)
        async with held.client() as client:
            uploads = [asyncio.create_task(_post(client, 10)) for _ in range(3)]
            await asyncio.sleep(0.05)
            assert (await _post(client, 10)).status_code == 429
            query = asyncio.create_task(_post(client, 10, "application/json"))
            await asyncio.sleep(0.05)
            assert not query.done()
            held.go.set()
            assert {(await answer).status_code for answer in (*uploads, query)} == {200}

    asyncio.run(scenario())


def test_an_upload_larger_than_the_budget_is_accepted_alone() -> None:
    held = Held(budget=LEAST)
    held.go.set()
    assert TestClient(held.api).post("/", content=bytes(2 * LEAST), headers={"Content-Type": FORM}).json() == 2 * LEAST


def test_the_work_for_an_upload_is_cancelled_when_its_client_disconnects() -> None:
    async def scenario() -> None:
        held, left = Held(budget=LEAST), asyncio.Event()
        parts: list[Message] = [
            {"type": "http.request", "body": b"a", "more_body": True},
            {"type": "http.request", "body": b"b"},
        ]
        body = iter(parts)
        sent = list[Message]()

        async def receive() -> Message:
            if (message := next(body, None)) is not None:
                return message
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [(b"content-type", FORM.encode())]
        scope = {"type": "http", "method": "POST", "path": "/", "headers": headers, "query_string": b""}
        request = asyncio.create_task(held.api(scope, receive, send))
        await asyncio.sleep(0.05)
        assert not request.done() and held.cancelled == 0
        left.set()
        await request
        await asyncio.sleep(0)
        assert held.cancelled == 1 and not sent

    asyncio.run(scenario())
