"""Servers for tests of what may be read from where."""

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
    """A server that speaks http."""
    with running(Server()) as server:
        yield server


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that speaks https, with a certificate for 127.0.0.1 and films.example that is trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
    http.trusted.cache_clear()
    with running_tls(tmp_path) as server:
        yield server
    http.trusted.cache_clear()
