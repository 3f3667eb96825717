"""Fixtures for all tests."""

import atexit
import logging
import multiprocessing
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer

from films import write_film
from ray_here import running_ray
from rayreel.ray_access import protect
from rayreel.storage import Storage
from scheduling import ModuleScheduling, longest_first

# Every Ray of this process listens on loopback and requires its own token, not the user's.
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
protect()

# Python processes that tests start fork from one that has imported these, which takes them seconds each.
multiprocessing.set_forkserver_preload(
    ["rayreel.training.loop", "rayreel.training.action.loop", "rayreel.release.promote", "rayreel.training.tracking"]
)

# Threads of PyTorch wait busily for one another: with other processes on their cores, they need four times the CPU.
os.environ.setdefault("OMP_NUM_THREADS", "1")

FilmMaker = Callable[..., Path]


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """After a test that has started a deployment in this process, log lines no longer go to Serve only."""
    yield
    for name in ("rayreel", "serve_apps"):
        logging.getLogger(name).parent = logging.root


# On a busy machine, Ray's timeout of 30 s for its first process is too short.
os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "90")
# Tests and the commands that they run find no Ray of this machine other than their own.
RAY_FOLDER = tempfile.mkdtemp(prefix="rr", dir="/tmp")
os.environ["RAY_TMPDIR"] = RAY_FOLDER
atexit.register(shutil.rmtree, RAY_FOLDER, ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ModuleScheduling:
    """Distribute modules."""
    return ModuleScheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Start with the longest modules if they are distributed."""
    if hasattr(config, "workerinput"):
        longest_first(items)


@pytest.fixture
def film(tmp_path: Path) -> FilmMaker:
    """Create a film in the test's folder: `film("a.mp4", frames=10)`."""
    return lambda name="film.mp4", **options: write_film(tmp_path / name, **options)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """The Ray of this test process, for all modules. It is never shut down before the end."""
    with running_ray(RAY_FOLDER):
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
