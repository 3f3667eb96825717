"""Open-loop load: requests leave at a constant rate, whatever becomes of the answers."""

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from types import TracebackType
from typing import Any, Self

import httptools
import numpy as np
import uvloop
from numpy.typing import NDArray

_NO_ANSWER = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """Which requests go where, and when: request i of `order` is due i / rate seconds after the start.

    `requests` are whole HTTP/1.1 requests as bytes. A request that finds every connection busy waits for one, and its
    latency counts from when it was due, so that a slow server cannot slow its own load down.
    """

    host: str
    port: int
    rate: float
    requests: Sequence[bytes]
    order: NDArray[np.int64]
    connections: int = 64
    patience_s: float = 10.0
    keep: bool = False

    @property
    def seconds(self) -> float:
        """How long requests are sent."""
        return len(self.order) / self.rate


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as it came; status 0 and no body where none came."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of each request, in the order they were due."""

    due_s: NDArray[np.float64]
    latency_ms: NDArray[np.float64]
    status: NDArray[np.int64]
    answers: list[Answer] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """Requests without an answer of 200 to 299."""
        return int(((self.status < 200) | (self.status > 299)).sum())

    def quantile_ms(self, share: float) -> float:
        """The latency that so many requests stay below; one without an answer took for ever."""
        answered = np.where(self.status == _NO_ANSWER, np.inf, self.latency_ms)
        return float(np.quantile(answered, share, method="inverted_cdf"))


class Generator:
    """A process that sends load, so that this one's work does not delay it. A context."""

    def __enter__(self) -> Self:
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        self._pool.submit(math.sqrt, 1.0).result()  # the process is there before the first load
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)

    def start(self, plan: Plan) -> "Future[Outcome]":
        """Send the plan's load; the result comes when every request has its answer or has waited long enough."""
        return self._pool.submit(send, plan)

    def send(self, plan: Plan) -> Outcome:
        """Send the plan's load and wait for the end."""
        return self.start(plan).result()


def send(plan: Plan) -> Outcome:
    """Send the plan's load from this process. Sending is as exact as the loop's clock: to a millisecond."""
    return uvloop.run(_Load(plan).run())


class _Load:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        count = len(plan.order)
        self.due_s = np.arange(count) / plan.rate
        self.latency_ms = np.full(count, np.nan)
        self.status = np.zeros(count, np.int64)
        self.answers: dict[int, Answer] = {}
        self.idle: list[_Connection] = []
        self.waiting: deque[int] = deque()
        self.unanswered = count
        self.connecting: set[asyncio.Task[None]] = set()

    async def run(self) -> Outcome:
        self.loop = asyncio.get_running_loop()
        self.over = asyncio.Event()
        await asyncio.gather(*(self.connect() for _ in range(self.plan.connections)))
        self.start_s = self.loop.time()
        await self.emit()
        try:
            await asyncio.wait_for(self.over.wait(), self.plan.patience_s)
        except TimeoutError:
            self.over.set()
        for connection in self.idle:
            connection.transport.close()
        lost = Answer(_NO_ANSWER, {}, b"")
        answers = [self.answers.get(i, lost) for i in range(len(self.due_s))] if self.plan.keep else []
        return Outcome(self.due_s, self.latency_ms, self.status, answers)

    async def emit(self) -> None:
        sent, total = 0, len(self.due_s)
        while sent < total:
            due = min(total, int((self.loop.time() - self.start_s) * self.plan.rate) + 1)
            self.waiting.extend(range(sent, due))
            sent = max(sent, due)
            self.serve_waiting()
            if sent < total:
                await asyncio.sleep(max(0.0, self.start_s + self.due_s[sent] - self.loop.time()))

    def serve_waiting(self) -> None:
        while self.waiting and self.idle:
            number = self.waiting.popleft()
            self.idle.pop().ask(number, self.plan.requests[self.plan.order[number]])

    async def connect(self) -> None:
        """One more connection, tried until it is there: a server that is being replaced refuses for a moment."""
        while not self.over.is_set():
            try:
                await self.loop.create_connection(lambda: _Connection(self), self.plan.host, self.plan.port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                return

    def answered(self, number: int, answer: Answer) -> None:
        self.latency_ms[number] = (self.loop.time() - self.start_s - self.due_s[number]) * 1000
        self.status[number] = answer.status
        if self.plan.keep:
            self.answers[number] = answer
        self.unanswered -= 1
        if not self.unanswered:
            self.over.set()

    def free(self, connection: "_Connection") -> None:
        self.idle.append(connection)
        self.serve_waiting()

    def lost(self, connection: "_Connection") -> None:
        if connection in self.idle:
            self.idle.remove(connection)
        task = self.loop.create_task(self.connect())
        self.connecting.add(task)
        task.add_done_callback(self.connecting.discard)


class _Connection(asyncio.Protocol):
    """One request at a time over HTTP/1.1 with keep-alive. Nothing is ever sent twice: every failure counts."""

    def __init__(self, load: _Load) -> None:
        self.load = load
        self.number: int | None = None
        self.body, self.headers = b"", dict[str, str]()

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - asyncio's own signature is wider
        self.transport = transport
        self.load.free(self)

    def ask(self, number: int, request: bytes) -> None:
        self.number, self.body, self.headers = number, b"", {}
        self.parser = httptools.HttpResponseParser(self)
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.load.plan.keep:
            self.headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        number, self.number = self.number, None
        assert number is not None, "an answer to a request"
        self.load.answered(number, Answer(self.parser.get_status_code(), self.headers, self.body))
        if self.parser.should_keep_alive():
            self.load.free(self)
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if self.number is not None:
            self.load.answered(self.number, Answer(_NO_ANSWER, {}, b""))
        self.load.lost(self)
