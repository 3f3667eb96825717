"""A running service, shared by all tests of this folder that need one."""

from collections.abc import Iterator

import pytest

from made_service import MadeService, made_service
from ports import free_port

# No access to other machines, and deadlines that a slow machine can meet.
SETS = ("limits.allowed_hosts=[]", "serve.timeout_s=60")


@pytest.fixture(scope="package")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MadeService]:
    """A service with 200 videos that needs no key."""
    port = free_port()
    with made_service(tmp_path_factory.mktemp("fuzzed"), port, 200, SETS) as running:
        yield running
