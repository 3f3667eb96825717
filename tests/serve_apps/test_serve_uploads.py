"""Uploads: the limit on each, through a real port, and the budget that they share."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from starlette.types import Message

from films import write_film
from made_service import MadeService, made_service
from ports import free_port
from rayreel.access.config import ServeConfig
from serve_apps.uploads import LEAST, UploadBudget

FilmMaker = Callable[..., Path]
MIB = 1 << 20
# Default of serve.max_body_bytes.
LIMIT = 64 * MIB
ROUTES = {"/v1/recommend/upload": 200, "/v1/embed/upload": 200, "/v1/videos": 201}
FORM = "multipart/form-data; boundary=mark"


def padded(film: Path, size: int) -> bytes:
    """Return the film padded to `size` bytes with a box that players skip."""
    content = film.read_bytes()
    box = size - len(content)
    return content + struct.pack(">I4s", box, b"free") + bytes(box - 8)


def send(url: str, route: str, content: bytes) -> httpx.Response:
    return httpx.post(url + route, files={"file": ("film.mp4", content)}, timeout=120)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return padded(write_film(tmp_path_factory.mktemp("large") / "film.mp4"), 63 * MIB)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("route", ROUTES)
def test_a_large_video_is_accepted(fuzzed: MadeService, large: bytes, route: str) -> None:
    answer = send(fuzzed.url, route, large)
    assert answer.status_code == ROUTES[route], answer.text


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("size", [LIMIT, LIMIT + 10 * MIB])
def test_a_video_above_the_limit_is_refused(fuzzed: MadeService, film: FilmMaker, route: str, size: int) -> None:
    answer = send(fuzzed.url, route, padded(film(), size))
    assert answer.status_code == 413, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("size", "status"), [(63 * MIB, 200), (LIMIT, 413)])
def test_a_video_of_undeclared_length_has_the_same_limit(
    fuzzed: MadeService, film: FilmMaker, size: int, status: int
) -> None:
    content = padded(film(), size)

    def pieces() -> Iterator[bytes]:
        yield b'--mark\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
        yield from (content[at : at + MIB] for at in range(0, size, MIB))
        yield b"\r\n--mark--\r\n"

    url = f"{fuzzed.url}/v1/embed/upload"
    answer = httpx.post(url, content=pieces(), headers={"Content-Type": FORM}, timeout=120)
    assert answer.status_code == status, answer.text


def test_several_large_videos_are_accepted_at_once(fuzzed: MadeService, large: bytes) -> None:
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: send(fuzzed.url, "/v1/embed/upload", large), range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4, [answer.text for answer in answers]


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_large_videos_are_accepted_without_haproxy(tmp_path: Path, large: bytes, film: FilmMaker) -> None:
    with made_service(tmp_path, free_port(), sets=["serve.timeout_s=60"], haproxy=False) as service:
        for route, status in ROUTES.items():
            assert send(service.url, route, large).status_code == status
            assert send(service.url, route, padded(film(), LIMIT)).status_code == 413


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
