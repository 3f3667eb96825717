"""An API server for tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from k8s_api_server import ApiServer


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """An API server for one test. KUBECONFIG points to it."""
    with ApiServer() as running:
        monkeypatch.setenv("KUBECONFIG", str(running.kubeconfig(tmp_path)))
        yield running
