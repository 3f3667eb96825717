"""Fixtures for all tests."""

import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from films import write_film
from ray_here import own_ray
from rayreel.ray_access import protect
from rayreel.storage import Storage

# Every Ray of this process listens on loopback and requires its own token, not the user's.
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
protect()

FilmMaker = Callable[..., Path]

# On a busy machine, Ray's timeout of 30 s for its first process is too short.
os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "90")


# Folders whose tests start nothing but short processes. All others share one worker: two Rays at once find each other,
# and two services need more memory than CI has.
LIGHT = {"access", "benchmarks", "catalog", "client", "docs", "encoders", "evaluation", "media", "remote", "tower"}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Run the tests that start Ray on one worker, and meanwhile the light ones, by module, on the others.

    Not with `--dist loadgroup`: pytest-xdist 3.8 appends the group to a node id that pytest 9 no longer reads.
    """
    return GroupScheduling(config, log)


class GroupScheduling(LoadScopeScheduling):  # type: ignore[misc] # pytest-xdist has no types
    """Sends a module of light tests, or all tests that start Ray, to one worker."""

    def _split_scope(self, nodeid: str) -> str:
        path = PurePosixPath(nodeid.partition("::")[0])
        return str(path) if path.parent.name in LIGHT else "ray"


@pytest.fixture
def film(tmp_path: Path) -> FilmMaker:
    """Create a film in the test's folder: `film("a.mp4", frames=10)`."""
    return lambda name="film.mp4", **options: write_film(tmp_path / name, **options)


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[None]:
    with own_ray():
        yield


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """host:port of a local S3 server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture(params=["folder", "object store"])
def any_storage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """An empty storage root of each kind."""
    if request.param == "folder":
        return Storage(tmp_path / "a=1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    address = request.getfixturevalue("s3")
    options = f"scheme=http&endpoint_override={address}&region=us-east-1&allow_bucket_creation=true"
    return Storage(f"s3://bucket{abs(hash(tmp_path))}/prefix?{options}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={1 << 20}", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a disk here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)
