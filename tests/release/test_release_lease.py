"""Leases of real processes that are refused, killed, suspended or disconnected."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from rayreel.evaluation.config import EvaluationConfig
from rayreel.index.config import IndexConfig
from rayreel.release.config import ReleaseConfig
from rayreel.release.exclusive import create
from rayreel.release.lease import Held, Holder, Lease, LeaseLost
from rayreel.release.process import Process
from rayreel.release.site import Site
from rayreel.storage import Storage

# Six renewals per TTL, so that a live holder on a busy machine does not seem dead.
LIVE_S, DEAD_S = 3.0, 0.5
HOLDER = """
import sys
from rayreel.release.lease import Lease, LeaseLost
from rayreel.storage import Storage

with Lease(Storage(sys.argv[1]), "x", "does something", ttl_s=float(sys.argv[2])) as lease:
    print("held", flush=True)
    for _ in sys.stdin:
        try:
            lease.check()
            print("still held", flush=True)
        except LeaseLost as lost:
            print(f"lost: {lost}", flush=True)
"""

Start = Callable[[], subprocess.Popen[str]]


@pytest.fixture
def storage(any_storage: Storage) -> Storage:
    any_storage.filesystem.create_dir(any_storage.path("releases"), recursive=True)
    return any_storage


@pytest.fixture
def holder(storage: Storage) -> Iterator[Start]:
    """Start a process that holds the lease and checks it for each line on its standard input."""
    with ExitStack() as running:

        def start() -> subprocess.Popen[str]:
            words = [sys.executable, "-c", HOLDER, storage.root, str(LIVE_S)]
            environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
            pipe = subprocess.PIPE
            process = running.enter_context(
                subprocess.Popen(words, env=environment, text=True, stdin=pipe, stdout=pipe)
            )
            running.callback(process.kill)
            assert answer(process) == "held"
            return process

        yield start


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def checked(process: subprocess.Popen[str]) -> str:
    assert process.stdin is not None
    process.stdin.write("check\n")
    process.stdin.flush()
    return answer(process)


def lease(storage: Storage, patience_s: float = 0.0, ttl_s: float = LIVE_S) -> Lease:
    return Lease(storage, "x", "does it too", patience_s=patience_s, ttl_s=ttl_s)


def write_lease_file(storage: Storage, number: int, content: bytes) -> None:
    """Write the lease file of an ended process."""
    assert create(storage, storage.path("releases", "leases", "x", f"{number:012}.json"), content)


def remote_holder(renewed_at: str, ttl_s: float = LIVE_S) -> bytes:
    """Return a lease file of a process of another machine."""
    process = Process(who="ana@elsewhere", pid=1, machine="another", started="1")
    since = "2026-01-01T00:00:00+00:00"
    holder = Holder(token="t", what="works", process=process, since=since, renewed_at=renewed_at, ttl_s=ttl_s)
    return holder.model_dump_json().encode()


def test_a_second_process_is_refused_with_the_holder_and_its_start(storage: Storage, holder: Start) -> None:
    process = holder()
    with pytest.raises(Held, match=rf"\(process {process.pid}\) does something since 2\d+-.*Wait until it has ended"):
        lease(storage).__enter__()
    assert checked(process) == "still held"


def test_a_released_lease_is_free_and_waiting_processes_get_it(storage: Storage, holder: Start) -> None:
    process = holder()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lease(storage, patience_s=60).__enter__)
        assert process.stdin is not None
        process.stdin.close()  # it ends its block
        taken = waiting.result()
    taken.check()
    taken.__exit__(None, None, None)
    with lease(storage) as again:
        again.check()


def test_the_lease_of_a_killed_local_process_is_free_at_once(storage: Storage, holder: Start) -> None:
    process = holder()
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = time.monotonic()
    with Lease(storage, "x", "does it too", ttl_s=600):
        assert time.monotonic() - before < 300


@pytest.mark.slow
def test_a_renewed_lease_outlives_its_ttl(storage: Storage, holder: Start) -> None:
    process = holder()
    with pytest.raises(Held):
        lease(storage, patience_s=1.5 * LIVE_S).__enter__()
    assert checked(process) == "still held"


@pytest.mark.slow
def test_a_process_suspended_beyond_the_ttl_loses_the_lease_and_changes_nothing(
    storage: Storage, holder: Start
) -> None:
    process = holder()
    process.send_signal(signal.SIGSTOP)
    with lease(storage, patience_s=60, ttl_s=2 * DEAD_S) as taken:
        process.send_signal(signal.SIGCONT)
        assert checked(process).startswith("lost: This process does something, but did not renew its lease")
        assert "does it too" in checked(process)
        taken.check()


@pytest.mark.parametrize("renewed_at", ["2020-01-01T00:00:00+00:00", "2999-01-01T00:00:00+00:00"])
def test_the_lease_of_a_dead_remote_process_expires_regardless_of_its_clock(storage: Storage, renewed_at: str) -> None:
    write_lease_file(storage, 7, remote_holder(renewed_at, DEAD_S))
    before = time.monotonic()
    with lease(storage):
        assert DEAD_S <= time.monotonic() - before < LIVE_S, "the holder's limit applies, not the waiting process's"


@pytest.mark.parametrize("content", [b"", b"{", b"[1]"])
def test_an_empty_lease_file_blocks_only_for_the_ttl(storage: Storage, content: bytes) -> None:
    write_lease_file(storage, 3, content)
    with lease(storage, ttl_s=DEAD_S) as taken:
        taken.check()


def test_a_live_remote_process_is_recognised_by_renewals_not_by_its_clock(storage: Storage) -> None:
    write_lease_file(storage, 1, remote_holder("2020-01-01T00:00:00+00:00"))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lease(storage).__enter__)
        time.sleep(LIVE_S / 3)
        write_lease_file(storage, 2, remote_holder("2020-01-01T00:00:01+00:00"))
        with pytest.raises(Held, match="ana@elsewhere"):
            waiting.result()


def test_only_one_of_many_concurrent_processes_holds_the_lease(tmp_path: Path) -> None:
    held = list[int]()

    def hold(number: int) -> None:
        with lease(Storage(tmp_path), patience_s=60):
            held.append(number)
            assert held == [number]
            time.sleep(0.01)
            held.remove(number)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(hold, range(6)))


def test_a_process_notices_that_it_lost_its_lease(storage: Storage) -> None:
    with lease(storage) as first:
        write_lease_file(storage, 99, remote_holder("2020-01-01T00:00:00+00:00"))
        with pytest.raises(LeaseLost, match=r"ana@elsewhere \(process 1\) works"):
            first.check()
        with pytest.raises(LeaseLost):
            first.check()


def test_the_settings_decide_how_long_a_lease_lives_without_renewal(storage: Storage) -> None:
    nothing: Any = None
    site = Site(storage, nothing, IndexConfig(), ReleaseConfig(lease_s=7), EvaluationConfig(), nothing)
    with site.lease("x", "works"):
        newest = storage.files(storage.path("releases", "leases", "x"), ".json")[-1]
        assert Holder.model_validate_json(storage.read(newest) or b"").ttl_s == 7
