import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pytest

from benchmarks.serving.arrivals import Generator, Plan, send
from benchmarks.serving.queries import by_id, draw, post

Handler = Callable[[int, bytes, asyncio.StreamWriter], Awaitable[None]]


@contextmanager
def server(handle: Handler) -> Iterator[int]:
    """A small HTTP server in a thread; `handle(n, body, writer)` answers the n-th request of all."""
    ready, seen = threading.Event(), iter(range(1_000_000))
    given: dict[str, Any] = {}

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:"))
                await handle(next(seen), await reader.readexactly(length), writer)
                await writer.drain()

    async def main() -> None:
        given["loop"], given["over"] = asyncio.get_running_loop(), asyncio.Event()
        async with await asyncio.start_server(talk, "127.0.0.1", 0) as running:
            given["port"] = running.sockets[0].getsockname()[1]
            ready.set()
            await given["over"].wait()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    ready.wait()
    try:
        yield given["port"]
    finally:
        given["loop"].call_soon_threadsafe(given["over"].set)
        thread.join()


def ok(writer: asyncio.StreamWriter, body: bytes = b"{}", more: str = "") -> None:
    writer.write(f"HTTP/1.1 200 OK\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body)


def plan(port: int, count: int, rate: float, **given: Any) -> Plan:  # noqa: ANN401
    requests = [post("/x", str(number).encode()) for number in range(count)]
    return Plan("127.0.0.1", port, rate, requests, np.arange(count), **given)


def test_every_request_is_sent_once_and_its_answer_kept() -> None:
    bodies = []

    async def echo(_: int, body: bytes, writer: asyncio.StreamWriter) -> None:
        bodies.append(body)
        ok(writer, b"got " + body, more="X-Request-Id: a\r\n")

    with server(echo) as port, Generator() as generator:
        outcome = generator.send(plan(port, count=200, rate=1000, keep=True))
    assert outcome.failed == 0
    assert sorted(bodies, key=int) == [str(n).encode() for n in range(200)]
    assert [answer.body for answer in outcome.answers] == [f"got {n}".encode() for n in range(200)]
    assert outcome.answers[0].headers["x-request-id"] == "a"


def test_latency_counts_from_when_a_request_was_due_not_from_when_it_could_be_sent() -> None:
    async def stall_once(number: int, _: bytes, writer: asyncio.StreamWriter) -> None:
        if number == 0:
            await asyncio.sleep(0.5)
        ok(writer)

    with server(stall_once) as port:
        outcome = send(plan(port, count=20, rate=100, connections=1))
    # One connection: nineteen requests wait behind the first, each as long as it was due before the stall was over.
    np.testing.assert_allclose(outcome.latency_ms, 500 - 10 * np.arange(20), atol=60)
    assert outcome.quantile_ms(0.5) > 350


def test_a_connection_that_breaks_is_a_failed_request_and_the_load_goes_on() -> None:
    async def break_some(number: int, _: bytes, writer: asyncio.StreamWriter) -> None:
        if number % 10 == 3:
            writer.transport.abort()
        else:
            ok(writer)

    with server(break_some) as port:
        outcome = send(plan(port, count=50, rate=500, connections=4))
    assert outcome.failed == 5
    assert np.count_nonzero(outcome.status == 200) == 45
    assert outcome.quantile_ms(0.99) == np.inf


def test_a_request_that_is_never_answered_and_an_error_count_as_failed() -> None:
    async def odd(number: int, _: bytes, writer: asyncio.StreamWriter) -> None:
        if number == 1:
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        elif number == 2:
            await asyncio.sleep(5)
        else:
            ok(writer, more="Connection: close\r\n")

    with server(odd) as port:
        outcome = send(plan(port, count=6, rate=200, patience_s=0.3))
    assert sorted(outcome.status.tolist()) == [0, 200, 200, 200, 200, 503]
    assert outcome.failed == 2


def test_uniform_draws_are_even_and_zipf_draws_follow_the_power_law() -> None:
    uniform, zipf = draw("uniform", 1000, 200_000), draw("zipf", 1000, 200_000)
    assert np.bincount(uniform, minlength=1000).max() < 300
    popular = np.sort(np.bincount(zipf, minlength=1000))[::-1]
    slope = np.polyfit(np.log(np.arange(1, 101)), np.log(popular[:100]), 1)[0]
    assert slope == pytest.approx(-1.1, abs=0.05)
    np.testing.assert_array_equal(draw("zipf", 1000, 50, seed=3), draw("zipf", 1000, 50, seed=3))


def test_a_query_by_id_is_a_whole_http_request() -> None:
    head, body = by_id("/v1/recommend", ["a b"], top_k=3, headers={"X-API-Key": "k"})[0].split(b"\r\n\r\n")
    assert body == b'{"video_id": "a b", "top_k": 3}'
    assert head.startswith(b"POST /v1/recommend HTTP/1.1\r\n")
    assert f"Content-Length: {len(body)}".encode() in head and b"X-API-Key: k" in head
