import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from typing import Any

import numpy as np

from benchmarks.highest_rate import post
from benchmarks.load import LoadPlan, send

Handler = Callable[[int, bytes, asyncio.StreamWriter], Awaitable[None]]


@contextmanager
def server(handle: Handler) -> Iterator[int]:
    """A small HTTP server in a thread; `handle(n, body, writer)` answers the n-th request of all."""
    ready, numbers = threading.Event(), iter(range(1_000_000))
    given: dict[str, Any] = {}

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:"))
                await handle(next(numbers), await reader.readexactly(length), writer)
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


def plan(port: int, count: int, rate: float, **given: Any) -> LoadPlan:  # noqa: ANN401
    requests = [post("/x", str(number).encode()) for number in range(count)]
    return LoadPlan("127.0.0.1", port, rate, requests, np.arange(count), **given)


def test_every_request_is_sent_once_and_its_response_kept() -> None:
    bodies = []

    async def echo(_: int, body: bytes, writer: asyncio.StreamWriter) -> None:
        bodies.append(body)
        ok(writer, b"got " + body, more="X-Request-Id: a\r\n")

    with server(echo) as port, ProcessPoolExecutor(1, get_context("spawn")) as process:
        outcome = process.submit(send, plan(port, count=200, rate=1000, keep=True)).result()
    assert outcome.failed == 0
    assert sorted(bodies, key=int) == [str(n).encode() for n in range(200)]
    assert [response.body for response in outcome.responses] == [f"got {n}".encode() for n in range(200)]
    assert outcome.responses[0].headers["x-request-id"] == "a"


def test_latency_is_measured_from_the_scheduled_time_not_from_the_time_of_sending() -> None:
    async def stall_once(number: int, _: bytes, writer: asyncio.StreamWriter) -> None:
        if number == 0:
            await asyncio.sleep(0.5)
        ok(writer)

    with server(stall_once) as port:
        outcome = send(plan(port, count=20, rate=100, connections=1))
    # With one connection, nineteen requests wait for the first, each from its scheduled time until the stall ends.
    np.testing.assert_allclose(outcome.scheduled_s, 0.01 * np.arange(20))
    assert (outcome.latency_ms >= 499 - 10 * np.arange(20)).all()
    assert outcome.quantile_ms(0.5) > 350


def test_a_broken_connection_is_a_failed_request_and_the_load_continues() -> None:
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


def test_an_error_and_a_missing_response_are_failed_requests() -> None:
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


def test_a_body_without_content_length_ends_with_its_connection() -> None:
    async def close(_: int, body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n" + body)
        writer.close()

    with server(close) as port:
        outcome = send(plan(port, count=5, rate=100, connections=1, keep=True))
    assert [response.body for response in outcome.responses] == [b"0", b"1", b"2", b"3", b"4"]
