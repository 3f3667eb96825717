"""Prometheus metrics through Ray, OpenTelemetry spans if a collector is configured, and the access log of writes."""

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from opentelemetry import trace
from ray.serve.metrics import Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rayreel.access.keys import Scope as KeyScope
from rayreel.client.operation import ReplicaLoad
from rayreel.redact import redacted
from serve_apps.scopes import scope_of

log = logging.getLogger(__name__)

BUCKETS_MS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000]
BUCKETS_BATCH = [1, 2, 4, 8, 16, 32, 64]


# Requests of which times are kept for the last minute's figures: at 2,000 a second, those of ten seconds.
_KEPT, _MINUTE_S = 20_000, 60.0

# Thousands a second, and they are in the event store. A deleted user's id should not remain in a log.
_EVENTS, _USERS = "/v1/events", "/v1/users/"


def _tracer() -> trace.Tracer | None:
    """Return a tracer if OTEL_EXPORTER_OTLP_ENDPOINT is set, because spans cost time.

    Serve sets up the provider (RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH) and passes contexts between deployments.
    """
    return trace.get_tracer("rayreel") if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") else None


def log_with_serve() -> None:
    """Send our log lines to Serve's handlers: JSON with the request id, in the replica's own file."""
    serves = logging.getLogger("ray.serve")
    for name in ("rayreel", "serve_apps"):
        logging.getLogger(name).parent = serves


class Metrics:
    """The metrics of one replica. Ray adds deployment, replica and application. Times are in milliseconds."""

    def __init__(self) -> None:
        self._tracer = _tracer()
        self._requests = Counter("rayreel_requests", "Requests answered.", ("route", "method", "status"))
        self._latency = Histogram("rayreel_latency_ms", "Time from request to response.", BUCKETS_MS, ("route",))
        self._stages = Histogram("rayreel_stage_latency_ms", "Time of one stage of a request.", BUCKETS_MS, ("stage",))
        self._cache = Counter("rayreel_answers_cache", "Lookups in the response cache.", ("outcome",))
        self._failures = Counter("rayreel_decode_failures", "Videos that could not be decoded.", ("reason",))
        self._batches = Histogram("rayreel_batch_size", "Inputs of one batch.", BUCKETS_BATCH, ("network",))
        self._queue = Gauge("rayreel_queue", "Running and waiting calls.", ("queue",))
        self._release = Gauge("rayreel_release", "Version of the serving release.")
        self._size = Gauge("rayreel_index_size", "Videos of the serving release.")
        self._index_up = Gauge("rayreel_index_up", "1 if Milvus answers, else 0.")
        self._queues: dict[str, Callable[[], int]] = {}
        self._recent: deque[tuple[float, float, int]] = deque(maxlen=_KEPT)
        self._since = time.monotonic()

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request and its latency."""
        self._requests.inc(1, {"route": route, "method": method, "status": str(status)})
        self._latency.observe(seconds * 1e3, {"route": route})
        self._recent.append((time.monotonic(), seconds, status))

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
        """Count a video that could not be decoded."""
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

    def load(self, looked_s: float | None) -> ReplicaLoad:
        """Return figures of the last minute, or since a later start; `looked_s` is `ReleaseState.looked_s`."""
        now = time.monotonic()
        recent = [each for each in self._recent.copy() if now - each[0] <= _MINUTE_S]
        full = len(recent) == _KEPT
        span_s = now - recent[0][0] if full else min(_MINUTE_S, now - self._since)
        p50, p99 = np.percentile([seconds for _, seconds, _ in recent], (50, 99)).tolist() if recent else (None, None)
        return ReplicaLoad(
            requests_per_s=round(len(recent) / max(span_s, 1.0), 2),
            p50_ms=None if p50 is None else round(p50 * 1e3, 2),
            p99_ms=None if p99 is None else round(p99 * 1e3, 2),
            failed=sum(status >= 500 for _, _, status in recent),
            queues={name: length() for name, length in self._queues.items()},
            looked_s=None if looked_s is None else round(looked_s, 1),
        )

    def serving(self, release: int, size: int) -> None:
        """Report the serving release and its number of videos."""
        self._release.set(release)
        self._size.set(size)

    def index_up(self, *, up: bool) -> None:
        """Report whether Milvus answers."""
        self._index_up.set(float(up))


class Measured:
    """ASGI, outermost: counts and times every request by its route, and logs every write with the id of its key."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, measure it, and log it if it is a write."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status, location = time.perf_counter(), 499, None  # 499: the client disconnected before the response

        async def send_watched(message: Message) -> None:
            nonlocal status, location
            if message["type"] == "http.response.start":
                status, location = message["status"], dict(message.get("headers", ())).get(b"location")
            await send(message)

        try:
            await self.app(scope, receive, send_watched)
        finally:
            seconds = time.perf_counter() - started
            self.metrics.request(_route(scope), scope["method"], status, seconds)
            if _is_write(scope):
                _log_write(scope, status, location, seconds)


def _is_write(scope: Scope) -> bool:
    if scope["method"] in {"GET", "HEAD", "OPTIONS"}:
        return False
    path = _path(scope)
    return path != _EVENTS and (scope_of(scope["method"], path) or KeyScope.READ) > KeyScope.READ


def _log_write(scope: Scope, status: int, location: bytes | None, seconds: float) -> None:
    """Log a write: the key (`key_id`, null without keys), the request, and the `location` of the new video or job.

    Details are attributes, which Serve's JSON encoding turns into fields. It also adds the request id.
    """
    details = {
        "key_id": scope.get("state", {}).get("key_id"),
        "http_method": scope["method"],
        "http_path": f"{_USERS}…" if _path(scope).startswith(_USERS) else redacted(_path(scope)),
        "http_status": status,
        "location": None if location is None else location.decode("latin-1"),
        "duration_ms": round(seconds * 1e3, 1),
    }
    log.info(
        "write: %s %r %d, key %s",
        details["http_method"],
        details["http_path"],
        status,
        details["key_id"],
        extra=details,
    )


def _path(scope: Scope) -> str:
    """Return the path below the mount point, without the query."""
    return str(scope["path"].removeprefix(scope.get("root_path", "")))


def _route(scope: Scope) -> str:
    """Return the route's template rather than the path, so that ids do not create a time series each."""
    return str(getattr(scope.get("route"), "path", None) or scope.get("rayreel_route", "none"))
