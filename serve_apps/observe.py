"""What operators see: Prometheus metrics through Ray, and OpenTelemetry spans where somebody collects them."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from opentelemetry import trace
from ray.serve.metrics import Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rayreel.access.keys import Scope as KeyScope
from rayreel.redact import redacted
from serve_apps.scopes import scope_of

log = logging.getLogger(__name__)

BUCKETS_MS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000]
BUCKETS_BATCH = [1, 2, 4, 8, 16, 32, 64]


def _tracer() -> trace.Tracer | None:
    """Spans cost time: they are made only where OTEL_EXPORTER_OTLP_ENDPOINT says who takes them.

    Serve sets the provider up (RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH) and passes contexts between deployments.
    """
    return trace.get_tracer("rayreel") if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") else None


def log_with_serve() -> None:
    """Let our lines go where Serve's go: JSON with the request's id, in the replica's own file."""
    serves = logging.getLogger("ray.serve")
    for name in ("rayreel", "serve_apps"):
        logging.getLogger(name).parent = serves


class Metrics:
    """The metrics of one replica; Ray adds deployment, replica and application. Times in milliseconds."""

    def __init__(self) -> None:
        self._tracer = _tracer()
        self._requests = Counter("rayreel_requests", "Requests answered.", ("route", "method", "status"))
        self._latency = Histogram("rayreel_latency_ms", "From request to answer.", BUCKETS_MS, ("route",))
        self._stages = Histogram("rayreel_stage_latency_ms", "One stage of answering.", BUCKETS_MS, ("stage",))
        self._cache = Counter("rayreel_answers_cache", "Lookups of hot answers.", ("outcome",))
        self._failures = Counter("rayreel_decode_failures", "Videos that could not be used.", ("reason",))
        self._batches = Histogram("rayreel_batch_size", "Inputs encoded at once.", BUCKETS_BATCH, ("network",))
        self._queue = Gauge("rayreel_queue", "Calls running and waiting.", ("queue",))
        self._release = Gauge("rayreel_release", "Version of the release that serves.")
        self._size = Gauge("rayreel_index_size", "Videos of the release that serves.")
        self._index_up = Gauge("rayreel_index_up", "1 while Milvus answers.")
        self._queues: dict[str, Callable[[], int]] = {}

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """One answered request."""
        self._requests.inc(1, {"route": route, "method": method, "status": str(status)})
        self._latency.observe(seconds * 1e3, {"route": route})

    def looked_up(self, *, hit: bool) -> None:
        """Count a lookup in the response cache."""
        self._cache.inc(1, {"outcome": "hit" if hit else "miss"})

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage and record it as a span."""
        started = time.perf_counter()
        try:
            if self._tracer is None:
                yield
            else:
                with self._tracer.start_as_current_span(name):
                    yield
        finally:
            self._stages.observe((time.perf_counter() - started) * 1e3, {"stage": name})

    def decode_failed(self, reason: str) -> None:
        """Count a video that could not be used."""
        self._failures.inc(1, {"reason": reason})

    def batch(self, network: str, size: int) -> None:
        """Record the size of an encoded batch."""
        self._batches.observe(size, {"network": network})

    def watch(self, queue: str, length: Callable[[], int]) -> None:
        """Add a queue to those that `report_queues` reports; `length` returns the calls that run or wait in it."""
        self._queues[queue] = length

    def report_queues(self) -> None:
        """Report the queues' lengths. Call it as often as Ray collects metrics: Ray drops values not renewed."""
        for queue, length in self._queues.items():
            self._queue.set(length(), {"queue": queue})

    def serving(self, release: int, size: int) -> None:
        """Report the serving release and its number of videos."""
        self._release.set(release)
        self._size.set(size)

    def index_up(self, *, up: bool) -> None:
        """Report whether Milvus answers."""
        self._index_up.set(float(up))


class Measured:
    """ASGI, outermost: counts and times every request by its route, and logs every write with the key that sent it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, measure it and log it if it writes."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status, made = time.perf_counter(), 499, None  # 499: the client disconnected before the response

        async def noted(message: Message) -> None:
            nonlocal status, made
            if message["type"] == "http.response.start":
                status, made = message["status"], dict(message.get("headers", ())).get(b"location")
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            seconds = time.perf_counter() - started
            self.metrics.request(_route(scope), scope["method"], status, seconds)
            if _is_write(scope):
                _log_write(scope, status, made, seconds)


def _is_write(scope: Scope) -> bool:
    if scope["method"] in {"GET", "HEAD", "OPTIONS"}:
        return False
    return (scope_of(scope["method"], _path(scope)) or KeyScope.READ) > KeyScope.READ


def _log_write(scope: Scope, status: int, made: bytes | None, seconds: float) -> None:
    """One line of the access log: who (`key_id`, null without keys) changed what, and the video or job that it made.

    As attributes, which Serve's JSON encoding turns into fields; it adds the request's id.
    """
    facts = {
        "key_id": scope.get("state", {}).get("key_id"),
        "http_method": scope["method"],
        "http_path": redacted(_path(scope)),
        "http_status": status,
        "location": None if made is None else made.decode("latin-1"),
        "duration_ms": round(seconds * 1e3, 1),
    }
    log.info("write: %s %r %d, key %s", facts["http_method"], facts["http_path"], status, facts["key_id"], extra=facts)


def _path(scope: Scope) -> str:
    """Without what it is mounted at, and without the query."""
    return str(scope["path"].removeprefix(scope.get("root_path", "")))


def _route(scope: Scope) -> str:
    """The route's template, never the path: ids would make a time series each."""
    return str(getattr(scope.get("route"), "path", None) or scope.get("rayreel_route", "none"))
