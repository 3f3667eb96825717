"""Adding catalogs over HTTP: access to local files, and the queue."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rayreel.client.operation import Job
from rayreel.failures import Reason, Rejected
from rayreel.media.fetch import local_copy
from rayreel.settings import load_settings
from rayreel.storage import Storage
from serve_apps.batch import Catalogs, from_outside, jobs_by_id, task
from serve_apps.problems import Busy, NotFound

MOST = 2


@pytest.fixture
def catalogs(ray_cluster: None, tmp_path: Path) -> Iterator[Catalogs]:
    """The queue of a service whose jobs fail after some seconds because the catalog does not exist."""
    made = Catalogs(Storage(tmp_path / "storage"), ["--storage", str(tmp_path / "storage")], MOST)
    yield made
    stopping = [job_id for job_id, job in jobs_by_id().items() if not job.status.is_terminal()]
    for job_id in stopping:
        made.cancel(job_id)
    while any(not jobs_by_id()[job_id].status.is_terminal() for job_id in stopping):
        time.sleep(0.1)


def ended(catalogs: Catalogs, job: Job) -> Job:
    while (now := catalogs.look(job.id)).status in {"PENDING", "RUNNING"}:
        time.sleep(0.1)
    return now


def test_an_untrusted_catalog_cannot_name_local_files(tmp_path: Path) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(b"x")
    limits = load_settings(None, from_outside()[1::2]).limits
    with local_copy(str(secret), limits, limits.allowed_roots) as found:
        assert isinstance(found, Rejected) and found.reason is Reason.PATH_NOT_ALLOWED


def test_allowed_folders_stay_readable(tmp_path: Path) -> None:
    (film := tmp_path / "film.mp4").write_bytes(b"x")
    limits = load_settings(None, [*from_outside()[1::2], f"limits.allowed_roots=[{tmp_path}]"]).limits
    with local_copy(str(film), limits, limits.allowed_roots) as found:
        assert found == film


def test_only_a_job_that_adds_a_catalog_has_the_limits_of_clients() -> None:
    assert task({"catalog": "s3://b/c.csv"}) == ["--catalog", "s3://b/c.csv", "--set", "limits.from_outside=true"]
    assert task({"only": ["a", "--b"]}) == ["--only=a", "--only=--b"]


@pytest.mark.faults
def test_catalogs_are_added_one_at_a_time_by_any_replica(catalogs: Catalogs, tmp_path: Path) -> None:
    first, second = catalogs.add("/no/catalog.csv"), catalogs.add("/no/catalog.csv")
    assert (first.status, second.status) == ("PENDING", "QUEUED")
    assert [job.id for job in catalogs.listed()] == [first.id, second.id]
    catalogs.advance()
    assert catalogs.look(second.id).status == "QUEUED"
    failed = ended(catalogs, first)
    assert failed.status == "FAILED" and "catalog.csv" in failed.log_tail and "/no/" not in failed.log_tail
    other_replica = Catalogs(Storage(tmp_path / "storage"), ["--storage", str(tmp_path / "storage")], MOST)
    other_replica.advance()
    assert catalogs.look(second.id).status != "QUEUED"
    catalogs.cancel(second.id)
    assert ended(catalogs, second).status == "STOPPED"
    assert [(job.id, job.status) for job in catalogs.listed()] == [(second.id, "STOPPED"), (first.id, "FAILED")]


@pytest.mark.faults
def test_a_full_queue_refuses_catalogs_and_keeps_no_trace_of_them(catalogs: Catalogs, tmp_path: Path) -> None:
    def add(_: int) -> Job | None:
        try:
            return catalogs.add("/no/catalog.csv")
        except Busy:
            return None

    with ThreadPoolExecutor(6) as threads:
        taken = [job for job in threads.map(add, range(6)) if job is not None]
    waiting = {file.stem.partition("-")[2] for file in (tmp_path / "storage" / "jobs").glob("*.json")}
    accepted = {job.id for job in taken}
    # A job fails within seconds, so another one may have started meanwhile.
    assert accepted and len(waiting) <= MOST and waiting <= accepted <= waiting | set(jobs_by_id())
    for job in taken:
        catalogs.cancel(job.id)
    assert not list((tmp_path / "storage" / "jobs").glob("*.json"))


@pytest.mark.faults
def test_a_queued_catalog_can_be_cancelled(catalogs: Catalogs) -> None:
    running, waiting = catalogs.add("/no/catalog.csv"), catalogs.add("/no/catalog.csv")
    catalogs.cancel(waiting.id)
    with pytest.raises(NotFound):
        catalogs.look(waiting.id)
    with pytest.raises(NotFound):
        catalogs.cancel(waiting.id)
    catalogs.cancel(running.id)
    catalogs.cancel(running.id)  # has no effect
