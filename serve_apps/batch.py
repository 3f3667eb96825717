"""Adding whole catalogs, or quarantined videos again, as Ray jobs: one at a time for the whole service; others wait.

The queue is below the storage root, one file `jobs/TIME-ID.json` per catalog. There is no leader among the replicas:
any of them submits the first catalog under its ID once no job is running. Ray accepts an id only once, so two replicas
that try at the same time submit one job.
"""

import json
import logging
import re
import shlex
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any

from ray.job_submission import JobDetails, JobSubmissionClient

from rayreel.client.operation import Job
from rayreel.compat.ray_cluster import job_server_url
from rayreel.redact import redacted
from rayreel.storage import Storage
from serve_apps.problems import Busy, NotFound, Unavailable

log = logging.getLogger(__name__)

PREFIX = "add-"
# Folder of the queued catalogs, below the storage root.
QUEUE = "jobs"
TAIL_LINES = 40
# Ended jobs that operators see.
MOST_ENDED = 10
# A local path, but not the path of a URI.
_PATH = re.compile(r"(?<![\w.:/])/(?:[\w.@+-]+/)+(?=[\w.@+-])")
_COMMAND = re.compile(r"Running entrypoint for job |.*\bINFO job_manager\.py")
_FAULT = "Traceback (most recent call last)"


class Catalogs:
    """The queue of catalogs, of at most `most`. `words` are command-line options for the jobs.

    All methods block, and raise Unavailable if Ray does not accept or list jobs.
    """

    def __init__(self, storage: Storage, words: list[str], most: int) -> None:
        self._storage, self._words, self._most = storage, words, most

    def add(self, catalog: str) -> Job:
        """Queue a catalog; its job starts at once if no other is running. Raises Busy if the queue is full."""
        return self._add({"catalog": catalog})

    def retry(self, only: Sequence[str] = ()) -> Job:
        """Queue another try of all quarantined videos or `only` these, as `add` queues a catalog. Raises Busy."""
        return self._add({"only": list(only)})

    def _add(self, queued: dict[str, Any]) -> Job:
        job_id = f"{PREFIX}{uuid.uuid4().hex}"
        path = self._storage.path(QUEUE, f"{time.time_ns():020}-{job_id}.json")
        self._storage.write(path, json.dumps(queued).encode())
        try:
            self.advance()
        except Unavailable:
            self._forget(path)
            raise
        waiting = self._waiting()
        if path in waiting[self._most :]:
            self._forget(path)
            raise Busy(f"{self._most} catalogs are queued already. Try again when one of them has been added.")
        return _queued(job_id, waiting.index(path)) if path in waiting else Job(id=job_id, status="PENDING")

    def advance(self) -> None:
        """Submit the first catalog of the queue unless a job is running. Any replica may call it at any time."""
        # Read the queue before the jobs: a catalog submitted in between is then seen as a job.
        waiting = self._waiting()
        if waiting and not any(_is_running(job) for job in jobs_by_id().values()):
            self._submit(waiting[0])

    def look(self, job_id: str) -> Job:
        """Return a job's status and output. Raises NotFound."""
        _check_is_ours(job_id)
        waiting = [_job_of(path) for path in self._waiting()]
        info = jobs_by_id().get(job_id)
        if info is not None:
            tail = presentable(_client().get_job_logs(job_id))
            return Job(id=job_id, status=info.status.value, message=_message(info), log_tail=tail)
        if job_id in waiting:
            return _queued(job_id, waiting.index(job_id))
        raise _unknown(job_id)

    def listed(self) -> list[Job]:
        """Return running jobs with their output, queued ones, and the last that ended, newest first."""
        waiting = [_job_of(path) for path in self._waiting()]
        known = sorted(jobs_by_id().items(), key=lambda item: item[1].start_time or 0, reverse=True)
        running = [self.look(job_id) for job_id, info in known if _is_running(info)]
        ended = [
            Job(id=job_id, status=info.status.value, message=_message(info))
            for job_id, info in known
            if not _is_running(info)
        ]
        queued = [_queued(job_id, before) for before, job_id in enumerate(waiting) if job_id not in dict(known)]
        return [*running, *queued, *ended[:MOST_ENDED]]

    def cancel(self, job_id: str) -> None:
        """Remove a catalog from the queue or stop its job; videos added so far stay. Raises NotFound."""
        _check_is_ours(job_id)
        paths = [path for path in self._waiting() if _job_of(path) == job_id]
        for path in paths:
            self._forget(path)
        info = jobs_by_id().get(job_id)
        if info is not None and _is_running(info):
            _client().stop_job(job_id)
        elif info is None and not paths:
            raise _unknown(job_id)

    def _submit(self, path: str) -> None:
        content = self._storage.read(path)
        if content is None:  # submitted by another replica, or cancelled
            return
        words = [*task(json.loads(content)), *self._words]
        # -P: a folder `serve_apps` in the working directory must not shadow the package.
        command = shlex.join([sys.executable, "-P", "-m", "serve_apps.add_catalog", *words])
        job_id = _job_of(path)
        try:
            _client().submit_job(entrypoint=command, submission_id=job_id)
        except (RuntimeError, OSError) as error:  # the errors of Ray's client, whatever the cause
            if job_id not in jobs_by_id():
                log.warning("a job could not be submitted: %s", error)
                raise Unavailable("The cluster does not accept jobs at the moment. Try again later.") from error
        self._forget(path)

    def _waiting(self) -> list[str]:
        """Paths of the queued catalogs, oldest first."""
        return self._storage.files(self._storage.path(QUEUE), ".json")

    def _forget(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self._storage.filesystem.delete_file(path)


def task(queued: dict[str, Any]) -> list[str]:
    """Return the options for what a job does. Quarantined rows were accepted before, many of them not from clients."""
    if "catalog" in queued:
        return ["--catalog", queued["catalog"], *from_outside()]
    return [f"--only={video_id}" for video_id in queued["only"]]


def from_outside() -> list[str]:
    """Options for untrusted catalogs: local files only in allowed folders, and only buckets allowed by name."""
    return ["--set", "limits.from_outside=true"]


def presentable(output: str) -> str:
    """Return the last lines of a job's output, without local folders, tracebacks and secrets.

    Ray's first lines, which contain the command with all settings, are removed as well.
    """
    shown, fault, _ = output.partition(_FAULT)
    lines = [line for line in shown.splitlines() if not _COMMAND.match(line)][-TAIL_LINES:]
    if fault:
        lines.append("The job failed unexpectedly. See its log in the cluster.")
    return redacted("\n".join(_PATH.sub("…/", line) for line in lines))


def jobs_by_id() -> dict[str, JobDetails]:
    """Return the jobs of this service that Ray lists, by id. Raises Unavailable."""
    try:
        known = _client().list_jobs()
    except (RuntimeError, OSError) as error:
        log.warning("the jobs could not be listed: %s", error)
        raise Unavailable("The cluster does not list its jobs at the moment. Try again later.") from error
    return {job.submission_id: job for job in known if (job.submission_id or "").startswith(PREFIX)}


def _check_is_ours(job_id: str) -> None:
    """Raise NotFound for jobs that the service has not submitted."""
    if not job_id.startswith(PREFIX):
        raise _unknown(job_id)


def _unknown(job_id: str) -> NotFound:
    return NotFound(f"There is no job {job_id!r}.")


def _message(job: JobDetails) -> str:
    """Return the first line of a message; the others repeat the output."""
    return presentable((job.message or "").partition("\n")[0])


def _is_running(job: JobDetails) -> bool:
    return not job.status.is_terminal()


def _queued(job_id: str, before: int) -> Job:
    return Job(id=job_id, status="QUEUED", message=f"Catalogs to be added before this one: {before + 1}.")


def _job_of(path: str) -> str:
    return PurePosixPath(path).stem.partition("-")[2]


def _client() -> JobSubmissionClient:
    """Ray's job client, which sends the cluster's token if one is required."""
    return JobSubmissionClient(job_server_url())
