"""Adding a whole catalog: a Ray job that extracts it and brings the release up to date."""

import logging
import re
import shlex
import sys
import uuid
from pathlib import Path

import ray
from ray.dashboard.utils import ray_address_to_api_server_url
from ray.job_submission import JobSubmissionClient

from rayreel.client.messages import Job
from rayreel.redact import redacted
from serve_apps.problems import NotFound, Unavailable

log = logging.getLogger(__name__)

JOBS = Path(__file__).parents[1] / "jobs"
PREFIX = "add-"
TAIL_LINES = 40
# A path of this machine, but not that of a URI.
_PATH = re.compile(r"(?<![\w.:/])/(?:[\w.@+-]+/)+(?=[\w.@+-])")
_COMMAND = re.compile(r"Running entrypoint for job |.*\bINFO job_manager\.py")
_FAULT = "Traceback (most recent call last)"


def start(catalog: str, words: list[str]) -> Job:
    """Submit the job; `words` are the settings that jobs take. Blocks. Raises Unavailable."""
    extract = [sys.executable, str(JOBS / "extract.py"), "--catalog", catalog, "--add", *words]
    index = [sys.executable, str(JOBS / "index.py"), *words]
    both = f"{shlex.join(extract)} && {shlex.join(index)}"
    try:
        job_id = _client().submit_job(entrypoint=both, submission_id=f"{PREFIX}{uuid.uuid4().hex}")
    except (RuntimeError, OSError) as error:  # what Ray's client raises for whatever it was answered
        log.warning("no job could be started: %s", error)
        raise Unavailable("The cluster takes no jobs now.") from error
    return Job(id=job_id, status="PENDING")


def from_outside() -> list[str]:
    """Words for a job on a catalog from outside: no local file but in allowed folders, no bucket that is not named."""
    return ["--set", "limits.from_outside=true"]


def look(job_id: str) -> Job:
    """How far a job of ours is. Blocks. Raises NotFound."""
    client = _client() if job_id.startswith(PREFIX) else None
    known = client is not None and any(job.submission_id == job_id for job in client.list_jobs())
    if client is None or not known:
        raise NotFound(f"There is no job {job_id!r}.")
    info = client.get_job_info(job_id)
    tail = presentable(client.get_job_logs(job_id))
    # What follows its first line is the output once more.
    message = presentable((info.message or "").partition("\n")[0])
    return Job(id=job_id, status=info.status.value, message=message, log_tail=tail)


def presentable(output: str) -> str:
    """The last lines of a job's output, without folders of this machine and without what only its authors can read.

    Nor with the command that Ray writes first: it names every setting, be it a secret.
    """
    told, fault, _ = output.partition(_FAULT)
    lines = [line for line in told.splitlines() if not _COMMAND.match(line)][-TAIL_LINES:]
    if fault:
        lines.append("It failed; the cluster's logs of this job say why.")
    return redacted("\n".join(_PATH.sub("…/", line) for line in lines))


def _client() -> JobSubmissionClient:
    return JobSubmissionClient(ray_address_to_api_server_url(ray.get_runtime_context().gcs_address))
