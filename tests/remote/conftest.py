"""Servers for tests of what may be read from where."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from http_servers import Server, key_and_certificate, running
from rayreel.remote import http


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def plain() -> Iterator[Server]:
    """A server that speaks http."""
    with running(Server()) as server:
        yield server


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that speaks https, with a certificate for 127.0.0.1 and *.example that is trusted."""
    (chain := tmp_path / "server.pem").write_bytes(key_and_certificate())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    monkeypatch.setenv("SSL_CERT_FILE", str(chain))
    http.trusted.cache_clear()
    server = Server()
    server.scheme, server.socket = "https", context.wrap_socket(server.socket, server_side=True)
    with running(server):
        yield server
    http.trusted.cache_clear()
