"""The submit tool over HTTP, with a test server or a real cluster ($K8S_TEST_KUBECONFIG)."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import submit
from k8s_api_server import ApiServer, refusal
from rayjobs import RayJobs, connect
from rayreel.errors import RayreelError
from refusals import Invalid, Lost, NameTaken, NoApiServer, NoKubeRay, NoNamespace, NoSuchJob, NotAllowed, QuotaExceeded

ROOT = Path(__file__).parents[2]
JOBS = "rayjobs"
# No image: the pod of a test never starts.
POD = {"containers": [{"name": "ray-head", "image": "rayreel-test.invalid/none"}]}


def manifest(name: str = "train-1") -> dict[str, Any]:
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": name, "labels": {"rayreel.io/job": "train"}},
        "spec": {"entrypoint": "python train.py", "rayClusterSpec": {"headGroupSpec": {"template": {"spec": POD}}}},
    }


def jobs_of(server: ApiServer, patience_s: float = 5) -> RayJobs:
    found = connect(None, None, None, patience_s)
    found._pause_s = 0.02
    return found


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run the submit tool in this process and return its exit status."""
    monkeypatch.setattr(sys, "argv", ["submit.py", *words])
    monkeypatch.setattr("rayjobs.FIRST_RESPONSE_S", 0)
    monkeypatch.setattr("rayjobs.WAITING_WATCH_S", 1)
    monkeypatch.setattr(RayJobs.__init__, "__defaults__", (300, 0.02))  # seconds of patience, and between requests
    with pytest.raises(SystemExit) as end:
        submit.main()
    return int(end.value.code or 0)


@pytest.fixture
def any_cluster(tmp_path: Path) -> Iterator[RayJobs]:
    """Jobs of the real cluster if there is one for tests, else of a test server."""
    if real := os.environ.get("K8S_TEST_KUBECONFIG"):
        yield connect(real, None, os.environ.get("K8S_TEST_NAMESPACE"))
        return
    with ApiServer() as server:
        yield connect(str(server.kubeconfig(tmp_path)), None, None)


def test_a_job_is_created_found_listed_and_stopped(any_cluster: RayJobs) -> None:
    name = f"train-{os.getpid()}"
    try:
        assert any_cluster.create(manifest(name)).name == name
        assert any_cluster.state(name).job == "train"
        assert name in [state.name for state in any_cluster.all()]
    finally:
        any_cluster.delete(name)
    deadline = time.monotonic() + 60
    while any(state.name == name for state in any_cluster.all()):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def operator(server: ApiServer, ending: tuple[str, str], message: str = "") -> None:
    """Act as the operator for the next job: start it, print its output, and end it."""

    def bring_up(made: dict[str, Any]) -> None:
        name = made["metadata"]["name"]
        while not server.count("GET", "watch="):
            time.sleep(0.01)
        for deployment, job in (("Initializing", ""), ("Running", "PENDING"), ("Running", "RUNNING")):
            server.status(name, deployment, job)
            time.sleep(0.05)
        server.submitter(name, f"{name}-pod")
        for line in ("epoch 1", "epoch 2"):
            server.write_log(f"{name}-pod", line)
            time.sleep(0.05)
        server.end(f"{name}-pod")
        server.status(name, *ending, message=message)

    server.on_create = bring_up


def test_a_followed_job_prints_states_and_output_and_returns_its_exit_status(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    operator(server, ("Complete", "SUCCEEDED"), "Job finished successfully.")
    assert run(monkeypatch, "train", "--overlay", "gpu", "--set", "train.epochs=20", "--follow") == 0
    printed = capsys.readouterr().out
    for text in ("Initializing", "Running · RUNNING", "epoch 1\n", "epoch 2\n", "Complete · SUCCEEDED"):
        assert printed.count(text) == 1 + (text.startswith("Complete"))
    made = next(item for (plural, _, _), item in server.objects.items() if plural == JOBS)
    assert made["spec"]["entrypoint"].endswith("--set 'train.on={rayreel.io/pool: gpu}' --set train.epochs=20")


@pytest.mark.parametrize(
    ("ending", "message", "code"),
    [
        (("Failed", "FAILED"), "Job entrypoint command failed with exit code 3, last available logs: …", 3),
        (("Failed", "FAILED"), "", 1),
        (("Complete", "STOPPED"), "Job was intentionally stopped.", 1),
        (("ValidationFailed", ""), "spec.backoffLimit must be a positive integer", 1),
    ],
)
def test_a_failed_job_returns_its_exit_status_and_reason(
    server: ApiServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ending: tuple[str, str],
    message: str,
    code: int,
) -> None:
    operator(server, ending, message)
    assert run(monkeypatch, "train", "--follow") == code
    assert message in capsys.readouterr().out


def test_watching_survives_restarts_and_expired_versions(server: ApiServer) -> None:
    jobs = jobs_of(server)
    jobs.create(manifest())
    states = jobs.states("train-1")
    assert next(states).deployment == "New"
    server.status("train-1", "Initializing")
    assert next(states).deployment == "Initializing"
    server.break_watches()
    server.trouble("GET", "/rayjobs", 503, refusal(503, "ServiceUnavailable", "starting"), times=2)
    server.trouble("GET", "watch=", None, times=2)
    server.status("train-1", "Running", "RUNNING")
    server.status("train-1", "Complete", "SUCCEEDED")
    seen = [state.line() for state in states]
    assert seen[-1] == "Complete · SUCCEEDED"
    assert len(seen) == len(set(seen))


def test_output_is_printed_once_despite_disconnects_and_retries_of_the_operator(
    server: ApiServer,
) -> None:
    jobs = jobs_of(server)
    jobs.create(manifest())
    server.status("train-1", "Running", "RUNNING")
    server.submitter("train-1", "train-1-a")
    server.write_log("train-1-a", "one")
    lines = jobs.log("train-1", follow=True)
    assert next(lines) == "one"
    server.write_log("train-1-a", "two")
    server.end("train-1-a")
    assert next(lines) == "two"
    time.sleep(1.1)  # creation times are whole seconds
    server.submitter("train-1", "train-1-b")
    server.trouble("GET", "/log", 400, refusal(400, "BadRequest", "container is waiting to start"))
    server.write_log("train-1-b", "three")
    server.end("train-1-b")
    server.status("train-1", "Complete", "SUCCEEDED")
    assert list(lines) == ["three"]


def test_a_lost_response_creates_no_second_job(server: ApiServer) -> None:
    server.trouble("POST", JOBS, None, afterwards=True)
    jobs = jobs_of(server)
    jobs._responded = True
    assert jobs.create(manifest()).name == "train-1"
    assert server.count("POST", JOBS) == 2
    assert len(jobs.all()) == 1


def test_deleting_again_after_a_lost_response_is_not_an_error(server: ApiServer) -> None:
    jobs = jobs_of(server)
    jobs.create(manifest())
    server.trouble("DELETE", "train-1", None, afterwards=True)
    jobs.delete("train-1")
    assert jobs.all() == []


def test_a_published_map_replaces_a_concurrent_change(server: ApiServer) -> None:
    jobs = jobs_of(server)
    jobs.publish("rayreel-jobs", {"a.yaml": "1"})
    server.trouble("PUT", "configmaps", 409, refusal(409, "Conflict", "the object has been modified"))
    jobs.publish("rayreel-jobs", {"a.yaml": "2"})
    assert server.objects["configmaps", "rayreel", "rayreel-jobs"]["data"] == {"a.yaml": "2"}


NO_ROOM = "0/1 nodes are available: 1 Insufficient memory."
QUOTA_USED = 'pods "train-1-abcde-worker" is forbidden: exceeded quota: rayreel, requested: pods=1'


@pytest.mark.parametrize("cause", [NO_ROOM, QUOTA_USED])
def test_a_job_that_waits_for_nodes_shows_the_cause_while_it_waits_and_when_it_has_failed(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cause: str
) -> None:
    def wait_and_fail(made: dict[str, Any]) -> None:
        server.status("train-1", "Initializing", rayClusterName="train-1-abcde")
        if cause == NO_ROOM:
            server.pending("train-1", cause)
        else:
            server.warning("train-1-abcde", cause)
        deadline = time.monotonic() + 10
        while server.count("GET", "watch=") < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        server.status("train-1", "Failed", reason="PreRunningDeadlineExceeded", message="The deadline has passed.")

    server.on_create = wait_and_fail
    assert run(monkeypatch, "train", "--name", "train-1", "--follow") == 1
    printed = capsys.readouterr().out
    waiting, ended = printed.split("PreRunningDeadlineExceeded", 1)
    assert waiting.count(cause) == 1
    assert cause in ended


def test_a_job_waits_without_its_cause_if_pods_may_not_be_read(server: ApiServer) -> None:
    jobs = jobs_of(server)
    jobs.create(manifest())
    server.status("train-1", "Initializing", rayClusterName="train-1-abcde")
    server.trouble("GET", "/pods", 403, refusal(403, "Forbidden", "pods is forbidden"))
    assert "rayreel-submit" in jobs.state("train-1").line()


@pytest.mark.parametrize(
    ("deployment", "job", "failed", "attempt"),
    [
        ("Running", "RUNNING", 1, "attempt 2"),
        ("Failed", "FAILED", 3, "attempt 3"),
        ("Complete", "SUCCEEDED", 1, "attempt 2"),
    ],
)
def test_attempts_are_counted_up_to_the_one_that_ended_the_job(
    server: ApiServer, deployment: str, job: str, failed: int, attempt: str
) -> None:
    jobs = jobs_of(server)
    jobs.create(manifest())
    server.status("train-1", deployment, job, failed=failed)
    assert jobs.state("train-1").line().endswith(attempt)


def test_listing_a_missing_namespace_is_an_error_and_an_empty_one_is_not(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "list") == 0
    assert run(monkeypatch, "list", "-n", "nowhere") == 1
    assert 'namespaces "nowhere" not found' in capsys.readouterr().out


def test_publishing_without_permission_names_the_role_that_grants_it(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server.trouble("POST", "configmaps", 403, refusal(403, "Forbidden", "configmaps is forbidden"))
    assert run(monkeypatch, "publish", "--overlay", "local") == 1
    assert "--role=rayreel-publish" in capsys.readouterr().out


FORBIDDEN = 'rayjobs.ray.io is forbidden: User "eva" cannot create resource "rayjobs"'
QUOTA = 'rayjobs.ray.io "train-1" is forbidden: exceeded quota: rayreel, requested: count/rayjobs.ray.io=1'
REFUSALS = [
    (401, refusal(401, "Unauthorized", "Unauthorized"), NotAllowed, "Log in"),
    (403, refusal(403, "Forbidden", FORBIDDEN), NotAllowed, "--role=rayreel-submit"),
    (403, refusal(403, "Forbidden", QUOTA), QuotaExceeded, "raise the quota"),
    (409, refusal(409, "AlreadyExists", 'rayjobs "train-1" already exists'), NameTaken, "--name"),
    (422, refusal(422, "Invalid", "spec.backoffLimit: Invalid value"), Invalid, "kubectl kustomize"),
    (400, refusal(400, "BadRequest", "strict decoding error"), Invalid, "kubectl kustomize"),
    (404, "404 page not found\n", NoKubeRay, "Install KubeRay"),
    (404, refusal(404, "NotFound", 'namespaces "x" not found', kind="namespaces"), NoNamespace, "--namespace"),
    (302, "", NoApiServer, "Try again"),
]


@pytest.mark.parametrize(("status", "answer", "error", "remedy"), REFUSALS)
def test_each_refusal_names_a_remedy(
    server: ApiServer, status: int, answer: dict[str, Any] | str, error: type[RayreelError], remedy: str
) -> None:
    if status == 409:
        server.put(JOBS, {**manifest(), "metadata": {"name": "train-1", "namespace": "rayreel"}})
    server.trouble("POST", JOBS, status, answer)
    with pytest.raises(error, match=remedy):
        jobs_of(server).create(manifest())


def test_a_server_that_stops_responding_is_reported_as_lost(server: ApiServer) -> None:
    jobs = jobs_of(server, patience_s=0.2)
    jobs.create(manifest())
    server.trouble("GET", JOBS, 503, refusal(503, "ServiceUnavailable", "etcd is down"), times=100)
    with pytest.raises(Lost, match="etcd is down"):
        jobs.state("train-1")


def test_no_cluster_and_no_configuration_end_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with ApiServer() as server:
        path = server.kubeconfig(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(path))
    assert run(monkeypatch, "list") == 1
    assert "NoApiServer: The API server does not respond" in capsys.readouterr().out
    assert run(monkeypatch, "list", "--kubeconfig", str(tmp_path / "none")) == 1
    assert "Pass --kubeconfig" in capsys.readouterr().out
    assert run(monkeypatch, "list", "--context", "other") == 1
    assert "Pass --kubeconfig" in capsys.readouterr().out


def test_unknown_jobs_cannot_be_queried_or_stopped(server: ApiServer) -> None:
    jobs = jobs_of(server)
    for call in (jobs.state, jobs.delete):
        with pytest.raises(NoSuchJob, match=r"submit\.py list"):
            call("nothing")


def test_following_ends_when_the_job_is_deleted(server: ApiServer) -> None:
    jobs = jobs_of(server)
    jobs.create(manifest())
    states = jobs.states("train-1")
    next(states)
    server.remove((JOBS, "rayreel", "train-1"))
    with pytest.raises(NoSuchJob):
        next(states)


def test_an_unknown_setting_starts_no_cluster(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "train", "--set", "train.epoch=20") == 1
    assert "There is no setting train.epoch" in capsys.readouterr().out
    assert server.requests == []


@pytest.mark.parametrize(
    "words",
    [
        ["--overlay", "gpuu"],
        ["--template", "nothing.yaml"],
        ["--name", "x" * 48],
        ["--name", "9abc"],
        ["--name", "a_b"],
    ],
)
def test_rendering_errors_are_reported_before_the_cluster_is_contacted(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert run(monkeypatch, "train", *words) == 1
    assert "CannotRender" in capsys.readouterr().out
    assert server.requests == []


def test_values_reach_the_job_unchanged(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nasty = """encoders.visual=it's a "test"; $(rm -rf /) *"""
    monkeypatch.setattr(submit, "check_settings", lambda sets: None)
    assert run(monkeypatch, "extract", "--set", nasty, "--dry-run", "--", "--catalog", "s3://b/my videos.csv") == 0
    command = yaml.safe_load(capsys.readouterr().out)["spec"]["entrypoint"]
    # The submitter's shell, `ray job submit` (shlex.join), and the shell of the driver.
    once = shlex.split(command)
    assert shlex.split(shlex.join(once))[-4:] == ["--set", nasty, "--catalog", "s3://b/my videos.csv"]


def test_the_schedule_submits_the_published_jobs(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run(monkeypatch, "publish", "--overlay", "production") == 0
    files = server.objects["configmaps", "rayreel", "rayreel-jobs"]["data"]
    template = tmp_path / "extract.yaml"
    template.write_text(files["extract.yaml"])
    assert run(monkeypatch, "extract", "--template", str(template), "--name", "extract-now") == 0
    made = server.objects[JOBS, "rayreel", "extract-now"]
    assert made["spec"] == yaml.safe_load(files["extract.yaml"])["spec"]
    assert made["metadata"]["labels"]["rayreel.io/job"] == "extract"


def test_the_submit_tool_runs_as_a_script(server: ApiServer) -> None:
    operator(server, ("Failed", "FAILED"), "Job entrypoint command failed with exit code 4")
    command = [sys.executable, str(ROOT / "k8s" / "submit.py"), "evaluate", "--overlay", "local", "--follow"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "epoch 2" in done.stdout
