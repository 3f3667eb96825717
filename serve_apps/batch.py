"""Adding whole catalogs: Ray jobs, one at a time for the whole service; the others wait in the storage.

Replicas come and go, and none leads. A waiting catalog is a file, `jobs/TIME-ID.json`. Any replica submits the first
one under its ID, once no other job runs; Ray takes an id once, so two that try at the same time submit one job.
"""

import json
import logging
import re
import shlex
import sys
import time
import uuid
from contextlib import suppress
from pathlib import PurePosixPath

import ray
from ray.dashboard.utils import ray_address_to_api_server_url
from ray.job_submission import JobDetails, JobSubmissionClient

from rayreel.client.messages import Job
from rayreel.redact import redacted
from rayreel.storage import Storage
from serve_apps.problems import Busy, NotFound, Unavailable

log = logging.getLogger(__name__)

PREFIX = "add-"
# Below the storage root: catalogs that wait.
WAITING = "jobs"
TAIL_LINES = 40
# A path of this machine, but not that of a URI.
_PATH = re.compile(r"(?<![\w.:/])/(?:[\w.@+-]+/)+(?=[\w.@+-])")
_COMMAND = re.compile(r"Running entrypoint for job |.*\bINFO job_manager\.py")
_FAULT = "Traceback (most recent call last)"


class Catalogs:
    """Catalogs that are being added and that wait for it; at most `most` wait. `words` are the settings for the job.

    All methods block, and raise Unavailable when Ray takes or shows no jobs.
    """

    def __init__(self, storage: Storage, words: list[str], most: int) -> None:
        self._storage, self._words, self._most = storage, words, most

    def add(self, catalog: str) -> Job:
        """Take a catalog in; its job starts at once where no other runs. Raises Busy when the queue is full."""
        job_id = f"{PREFIX}{uuid.uuid4().hex}"
        path = self._storage.path(WAITING, f"{time.time_ns():020}-{job_id}.json")
        self._storage.write(path, json.dumps({"catalog": catalog}).encode())
        try:
            self.advance()
        except Unavailable:
            self._forget(path)
            raise
        waiting = self._waiting()
        if path in waiting[self._most :]:
            self._forget(path)
            raise Busy(f"{self._most} catalogs are waiting already.")
        return _queued(job_id, waiting.index(path)) if path in waiting else Job(id=job_id, status="PENDING")

    def advance(self) -> None:
        """Submit the catalog that has waited longest, unless one is being added. Any replica, at any time."""
        # In this order: what has left the queue in between is among the jobs, and the queue moves once.
        waiting = self._waiting()
        if waiting and not any(_is_running(job) for job in _jobs().values()):
            self._submit(waiting[0])

    def look(self, job_id: str) -> Job:
        """How far a job is. Raises NotFound."""
        _must_be_ours(job_id)
        waiting = [_job_of(path) for path in self._waiting()]
        info = _jobs().get(job_id)
        if info is not None:
            tail = presentable(_client().get_job_logs(job_id))
            # What follows its first line is the output once more.
            message = presentable((info.message or "").partition("\n")[0])
            return Job(id=job_id, status=info.status.value, message=message, log_tail=tail)
        if job_id in waiting:
            return _queued(job_id, waiting.index(job_id))
        raise _unknown(job_id)

    def cancel(self, job_id: str) -> None:
        """Take a catalog out of the queue, or stop its job; what it has added so far stays. Raises NotFound."""
        _must_be_ours(job_id)
        paths = [path for path in self._waiting() if _job_of(path) == job_id]
        for path in paths:
            self._forget(path)
        info = _jobs().get(job_id)
        if info is not None and _is_running(info):
            _client().stop_job(job_id)
        elif info is None and not paths:
            raise _unknown(job_id)

    def _submit(self, path: str) -> None:
        content = self._storage.read(path)
        if content is None:  # another replica has submitted it, or it has been cancelled
            return
        words = ["--catalog", json.loads(content)["catalog"], *self._words]
        # -P: a folder of this name where the job happens to start is not what is meant.
        command = shlex.join([sys.executable, "-P", "-m", "serve_apps.add_catalog", *words])
        job_id = _job_of(path)
        try:
            _client().submit_job(entrypoint=command, submission_id=job_id)
        except (RuntimeError, OSError) as error:  # what Ray's client raises for whatever it was answered
            if job_id not in _jobs():
                log.warning("no job could be started: %s", error)
                raise Unavailable("The cluster takes no jobs now.") from error
        self._forget(path)

    def _waiting(self) -> list[str]:
        """Paths of the catalogs that wait, first come first."""
        return self._storage.files(self._storage.path(WAITING), ".json")

    def _forget(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self._storage.filesystem.delete_file(path)


def from_outside() -> list[str]:
    """Words for a job on a catalog from outside: no local file but in allowed folders, no bucket that is not named."""
    return ["--set", "limits.from_outside=true"]


def presentable(output: str) -> str:
    """The last lines of a job's output, without folders of this machine and without what only its authors can read.

    Nor with the command that Ray writes first: it names every setting, be it a secret.
    """
    told, fault, _ = output.partition(_FAULT)
    lines = [line for line in told.splitlines() if not _COMMAND.match(line)][-TAIL_LINES:]
    if fault:
        lines.append("It failed; the cluster's logs of this job say why.")
    return redacted("\n".join(_PATH.sub("…/", line) for line in lines))


def _jobs() -> dict[str, JobDetails]:
    """Our jobs by id, as Ray knows them."""
    try:
        known = _client().list_jobs()
    except (RuntimeError, OSError) as error:
        raise Unavailable("The cluster shows no jobs now.") from error
    return {job.submission_id: job for job in known if (job.submission_id or "").startswith(PREFIX)}


def _must_be_ours(job_id: str) -> None:
    """Raise NotFound for the id of another job of the cluster."""
    if not job_id.startswith(PREFIX):
        raise _unknown(job_id)


def _unknown(job_id: str) -> NotFound:
    return NotFound(f"There is no job {job_id!r}.")


def _is_running(job: JobDetails) -> bool:
    return not job.status.is_terminal()


def _queued(job_id: str, before: int) -> Job:
    return Job(id=job_id, status="QUEUED", message=f"Catalogs that are added first: {before + 1}.")


def _job_of(path: str) -> str:
    return PurePosixPath(path).stem.partition("-")[2]


def _client() -> JobSubmissionClient:
    """Ray's own client, which sends the cluster's token where it asks for one."""
    return JobSubmissionClient(ray_address_to_api_server_url(ray.get_runtime_context().gcs_address))
