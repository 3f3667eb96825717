"""Fixtures of all tests."""

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from films import write_film
from ray_here import own_ray
from rayreel.ray_access import protect

# Every Ray of this process listens on loopback and requires a token of its own; the user's stays out of it.
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
protect()

FilmMaker = Callable[..., Path]

# On a machine that is busy with something else, Ray's 30 s for its first process are too few.
os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "90")


@pytest.fixture
def film(tmp_path: Path) -> FilmMaker:
    """Make a film in the test's folder: `film("a.mp4", frames=10)`."""
    return lambda name="film.mp4", **options: write_film(tmp_path / name, **options)


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[None]:
    with own_ray():
        yield


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """host:port of an S3 server on this machine."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "{}:{}".format(*server.get_host_and_port())
    server.stop()
