"""A PostgreSQL server for the tests of the event store, where one is installed."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from ports import free_port

# Debian keeps the server's programs outside the path.
PLACES = (os.environ.get("PATH", ""), *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"))))


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a server without databases of ours. Skips the test if PostgreSQL is not installed."""
    initdb, postgres = (shutil.which(name, path=os.pathsep.join(PLACES)) for name in ("initdb", "postgres"))
    if initdb is None or postgres is None:
        pytest.skip("PostgreSQL is not installed")
    folder, port = Path(tempfile.mkdtemp(prefix="rr-pg-", dir="/tmp")), free_port()
    user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name  # the server refuses root
    shutil.chown(folder, user)
    run_as = {"user": user, "cwd": folder, "env": {"PATH": os.environ["PATH"]}}
    data = folder / "data"
    words = [initdb, "--pgdata", data, "--username", "rayreel", "--auth", "trust", "--no-sync"]
    subprocess.run(words, check=True, capture_output=True, **run_as)  # type: ignore[call-overload]
    words = [postgres, "-D", data, "-p", str(port), "-k", folder, "-c", "listen_addresses=127.0.0.1", "-F"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **run_as) as server:  # type: ignore[call-overload]
        try:
            yield f"postgresql://rayreel@127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGINT)  # SIGTERM would wait for open connections
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgresql_url(postgresql_server: str, request: pytest.FixtureRequest) -> str:
    """The URL of a new database."""
    server = postgresql_server.replace("postgresql:", "postgresql+psycopg2:")
    name = f"t{abs(hash(request.node.nodeid))}"

    @retry(
        stop=stop_after_delay(30), wait=wait_fixed(0.1), retry=retry_if_exception_type(OperationalError), reraise=True
    )
    def create() -> None:
        with create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql(f'CREATE DATABASE "{name}"')

    create()
    return f"{postgresql_server}/{name}"
