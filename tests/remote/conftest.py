"""HTTP and HTTPS servers for tests of remote reading."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from http_servers import Server, running, running_tls
from rayreel.remote import http


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def plain() -> Iterator[Server]:
    """An HTTP server."""
    with running(Server()) as server:
        yield server


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """An HTTPS server with a trusted certificate for 127.0.0.1 and films.example."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
    http.ssl_context.cache_clear()
    with running_tls(tmp_path) as server:
        yield server
    http.ssl_context.cache_clear()
