"""The access log of writes."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI, Response
from fastapi.testclient import TestClient
from ray._common.formatters import JSONFormatter

from rayreel.access.keyfile import KeyFile
from rayreel.access.keys import Scope, new_key
from rayreel.settings import load_settings
from rayreel.storage import Storage
from serve_apps.observe import Measured, Metrics
from serve_apps.security import protect


@pytest.fixture
def keys(tmp_path: Path) -> dict[Scope, str]:
    texts = {}
    for scope in Scope:
        texts[scope], key = new_key(scope.name, scope)
        KeyFile(Storage(tmp_path)).add(key)
    return texts


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    app = FastAPI()

    @app.post("/v1/videos/batch", status_code=202)
    def batch(response: Response) -> None:
        response.headers["Location"] = "/v1/jobs/add-1"

    @app.api_route("/{path:path}", methods=["GET", "POST", "DELETE"])
    def anything(path: str) -> str:
        return path

    protect(app, load_settings(storage=str(tmp_path)), "0.0.0.0")
    app.add_middleware(Measured, metrics=Metrics())
    with TestClient(app) as running:
        yield running


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[dict[str, object]]]:
    """Log records as Serve writes them: JSON."""
    caplog.set_level(logging.INFO, "serve_apps.observe")
    found: list[dict[str, object]] = []

    class Written(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(json.loads(JSONFormatter().format(record)))

    handler = Written()
    logging.getLogger("serve_apps.observe").addHandler(handler)
    yield found
    logging.getLogger("serve_apps.observe").removeHandler(handler)


def send(client: TestClient, method: str, path: str, key: str) -> None:
    client.request(method, path, headers={"Authorization": f"Bearer {key}"})


@pytest.mark.parametrize(
    ("method", "path", "status", "scope"),
    [
        ("POST", "/v1/videos", 200, Scope.WRITE),
        ("DELETE", "/v1/videos/a%0Ab?confirm=1", 404, Scope.WRITE),
        ("DELETE", "/v1/videos", 200, Scope.ADMIN),
        ("DELETE", "/v1/videos", 403, Scope.WRITE),
        ("POST", "/v1/videos", 403, Scope.READ),
    ],
)
def test_every_write_is_logged_with_the_id_of_its_key(
    client: TestClient,
    keys: dict[Scope, str],
    lines: list[dict[str, object]],
    method: str,
    path: str,
    status: int,
    scope: Scope,
) -> None:
    send(client, method, path, keys[scope])
    (line,) = lines
    assert (line["key_id"], line["http_method"], line["http_status"]) == (keys[scope].split("_")[1], method, status)
    assert line["http_path"] == path.partition("?")[0].replace("%0A", "\n")
    assert "\n" not in str(line["message"]) and keys[scope] not in str(line)


def test_the_log_line_of_a_catalog_has_its_job(
    client: TestClient, keys: dict[Scope, str], lines: list[dict[str, object]]
) -> None:
    send(client, "POST", "/v1/videos/batch", keys[Scope.WRITE])
    assert (lines[0]["key_id"], lines[0]["location"]) == (keys[Scope.WRITE].split("_")[1], "/v1/jobs/add-1")


def test_a_write_without_a_valid_key_is_logged_without_an_id(
    client: TestClient, lines: list[dict[str, object]]
) -> None:
    send(client, "POST", "/v1/videos", "rr_wrong")
    assert (lines[0]["key_id"], lines[0]["http_status"]) == (None, 401)


def test_reads_are_not_logged(client: TestClient, keys: dict[Scope, str], lines: list[dict[str, object]]) -> None:
    for method, path in (("GET", "/v1/videos"), ("POST", "/v1/recommend"), ("POST", "/v1/embed"), ("GET", "/healthz")):
        send(client, method, path, keys[Scope.ADMIN])
    assert not lines


def test_operators_see_the_rate_the_latency_and_the_failures_of_the_last_minute() -> None:
    metrics = Metrics()
    assert metrics.load(None).p50_ms is None
    metrics.watch("search", lambda: 3)
    for number in range(100):
        metrics.request("/v1/recommend", "POST", 503 if number == 7 else 200, 1.0 if number == 50 else 0.01)
    load = metrics.load(2.04)
    assert (load.p50_ms, load.failed, load.queues, load.looked_s) == (10.0, 1, {"search": 3}, 2.0)
    assert load.p99_ms is not None and load.p99_ms > 10
    assert 0 < load.requests_per_s <= 100  # a replica younger than a minute counts from its start, at least a second
