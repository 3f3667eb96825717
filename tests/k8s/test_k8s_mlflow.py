"""The MLflow server as the manifests start it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from mlflow import MlflowClient

from k8s_manifests import ROOT, of_kind, pods, rendered
from ports import free_port

pytestmark = pytest.mark.slow

LOGIN = ("rayreel", "a password of the test's")
SECRETS = ("MLFLOW_AUTH_ADMIN_USERNAME", "MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start the container's command with its arguments, except for its address, workers and storage."""
    tmp_path = tmp_path_factory.mktemp("mlflow")
    (pod,) = (pod for pod in pods(list(of_kind(rendered("production"), "Deployment"))) if "mlflow" in pod.of)
    container = pod.spec["containers"][0]
    port = free_port()
    replaced = {"--host": "127.0.0.1", "--port": str(port), "--workers": "1", "--artifacts-destination": str(tmp_path)}
    arguments = dict(argument.split("=", 1) for argument in container["args"]) | replaced
    arguments["--allowed-hosts"] += f",127.0.0.1:{port}"  # the host that MLflow's client names here
    program = Path(sys.executable).parent / container["command"][0]
    command = [str(program), *container["command"][1:], *(f"{key}={value}" for key, value in arguments.items())]
    configuration = (ROOT / "k8s" / "base" / "basic_auth.ini").read_text()
    (tmp_path / "basic_auth.ini").write_text(configuration.replace("/tmp/", f"{tmp_path}/"))
    env = {
        **os.environ,
        **{entry["name"]: entry["value"] for entry in container["env"] if entry["name"].startswith("MLFLOW_SERVER_")},
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{tmp_path}/mlflow.db",
        "MLFLOW_AUTH_CONFIG_PATH": str(tmp_path / "basic_auth.ini"),
        **dict(zip(SECRETS, (*LOGIN, "a session key"), strict=True)),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    assert set(env) > {entry["name"] for entry in container["env"]} - {"MLFLOW_ARTIFACTS"}
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, env=env, stdout=log, stderr=log) as server:
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(address, server, tmp_path / "log")
            yield address
        finally:
            server.terminate()


def _wait(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(f"{address}/health").status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.3)
    raise AssertionError(log.read_text()[-3000:])


def test_mlflow_answers_requests_for_its_service_and_probes_and_refuses_other_hosts(url: str) -> None:
    def status(path: str, host: str) -> int:
        return httpx.get(f"{url}{path}", headers={"Host": host}, auth=LOGIN, timeout=60).status_code

    listing = "/api/2.0/mlflow/registered-models/search"
    for host in ("mlflow:5000", "mlflow.rayreel.svc:5000"):
        assert status(listing, host) == 200
    # Probes use the pod's address.
    assert status("/health", "10.1.2.3:5000") == 200
    assert status(listing, "evil.example.org") == 403


def test_requests_without_the_login_are_refused_and_clients_with_it_record_runs(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = f"{url}/api/2.0/mlflow/registered-models/search"
    assert httpx.get(f"{url}/health", timeout=60).status_code == 200, "probes send no login"
    assert httpx.get(listing, timeout=60).status_code == 401
    assert httpx.get(listing, auth=(LOGIN[0], "guessed"), timeout=60).status_code == 401
    create = {"name": "rayreel"}
    assert httpx.post(f"{url}/api/2.0/mlflow/experiments/create", json=create, timeout=60).status_code == 401
    # Pods have the login in their environment.
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", LOGIN[0])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", LOGIN[1])
    client = MlflowClient(url)
    run = client.create_run(client.create_experiment("rayreel"))
    client.log_metric(run.info.run_id, "loss", 0.5)
    assert client.get_run(run.info.run_id).data.metrics == {"loss": 0.5}
