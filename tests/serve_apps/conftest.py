"""The service that is asked over HTTP: one for all tests of this folder that need one."""

from collections.abc import Iterator

import pytest

from made_service import MadeService, made_service
from ports import free_port

# Nothing outside this machine is asked, and a slow machine breaks no deadline.
SETS = ("limits.allowed_hosts=[]", "serve.timeout_s=60")


@pytest.fixture(scope="session")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MadeService]:
    """A service over 200 videos that anyone may ask anything."""
    port = free_port()
    with made_service(tmp_path_factory.mktemp("fuzzed"), port, 200, SETS) as running:
        yield running
