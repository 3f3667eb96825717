"""Open-loop load on an HTTP server: requests are sent at a constant rate, however slow the responses are.

Latency counts from the scheduled time, so that a slow server cannot slow its own load down (no coordinated omission).
With wrk and Locust, a slow response delays the next request. k6 measures from the time of sending and drops requests
while its users are busy. oha and wrk2 are not on PyPI and do not return each response, as tests of lost requests need.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import uvloop
from numpy.typing import NDArray

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """Request i, the HTTP/1.1 request `requests[order[i]]`, is scheduled i / rate seconds after the start."""

    host: str
    port: int
    rate: float
    requests: Sequence[bytes]
    order: NDArray[np.int64]
    connections: int = 64
    patience_s: float = 10.0  # after the last request
    keep: bool = False  # return the responses


class Response(NamedTuple):
    """One response; status 0 if there was none. The names of headers are in lower case."""

    status: int = 0
    headers: Mapping[str, str] = {}
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class LoadOutcome:
    """Scheduled times, latencies and status codes (0: no response), in the order of the schedule."""

    scheduled_s: NDArray[np.float64]
    latency_ms: NDArray[np.float64]
    status: NDArray[np.int64]
    responses: list[Response]

    @property
    def failed(self) -> int:
        """Requests without a response of 200 to 299."""
        return int((self.status // 100 != 2).sum())

    def quantile_ms(self, share: float) -> float:
        """Return the quantile of the latency; requests without a response took infinitely long."""
        return float(np.quantile(np.where(self.status, self.latency_ms, np.inf), share, method="inverted_cdf"))


def send(plan: LoadPlan) -> LoadOutcome:
    """Send the load, on time to a millisecond, and wait for the responses. Best run in a process of its own."""
    return uvloop.run(_send(plan))


async def _send(plan: LoadPlan) -> LoadOutcome:
    count, loop, waiting = len(plan.order), asyncio.get_running_loop(), asyncio.Queue[int]()
    keep = [Response()] * count if plan.keep else []
    outcome = LoadOutcome(np.arange(count) / plan.rate, np.full(count, np.nan), np.zeros(count, np.int64), keep)

    async def connection(streams: _Streams | None) -> None:
        """Send waiting requests, one at a time. A request is never sent twice, so every failure counts."""
        while True:
            number = await waiting.get()
            if streams is None or streams[0].at_eof() or streams[0].exception():
                streams = await _connect(plan)
            response = await _ask(streams, plan.requests[plan.order[number]])
            outcome.latency_ms[number] = 1000 * (loop.time() - start_s - outcome.scheduled_s[number])
            outcome.status[number] = response.status
            if plan.keep:
                outcome.responses[number] = response
            if "content-length" not in response.headers or response.headers.get("connection") == "close":
                streams[1].close()
                streams = None
            waiting.task_done()

    opened = await asyncio.gather(*(_connect(plan) for _ in range(plan.connections)))
    start_s, tasks = loop.time(), [loop.create_task(connection(streams)) for streams in opened]
    for number, scheduled_s in enumerate(outcome.scheduled_s.tolist()):
        if (early_s := start_s + scheduled_s - loop.time()) > 0:
            await asyncio.sleep(early_s)
        waiting.put_nowait(number)
    with suppress(TimeoutError):
        await asyncio.wait_for(waiting.join(), plan.patience_s)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return outcome


async def _connect(plan: LoadPlan) -> _Streams:
    """Open a connection; try again while a server that is being replaced refuses it."""
    while True:
        with suppress(OSError):
            return await asyncio.open_connection(plan.host, plan.port)
        await asyncio.sleep(0.05)


async def _ask(streams: _Streams, request: bytes) -> Response:
    """Send a request and read the response, whose body has a Content-Length or ends with the connection."""
    streams[1].write(request)
    try:
        head, *lines = (await streams[0].readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[:-2])}
        length = int(headers.get("content-length", -1))
        body = await (streams[0].read() if length < 0 else streams[0].readexactly(length))
        return Response(int(head.split(" ", 2)[1]), headers, body)
    except (OSError, asyncio.IncompleteReadError):
        return Response()
