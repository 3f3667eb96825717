"""Placement of the service's replicas in the overlays with GPUs."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from ray.dashboard.modules.serve.sdk import ServeSubmissionClient
from ray.util.state import list_actors

from chain import ROOT
from ports import free_port
from run import WEIGHTS

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

REPLICA = "ServeReplica:rayreel:"


def service_with_gpus() -> dict[str, Any]:
    """Return the Serve config of the overlays `gpu` and `production`, on loopback."""
    manifest = yaml.safe_load((ROOT / "k8s" / "components" / "gpu" / "service.yaml").read_text())
    wanted: dict[str, Any] = yaml.safe_load(manifest["spec"]["serveConfigV2"])
    wanted["http_options"] |= {"host": "127.0.0.1", "port": free_port()}
    return wanted


def replicas() -> Counter[tuple[str, str]]:
    """Return the number of replicas by (deployment, node)."""
    found = list_actors(ray.get_runtime_context().gcs_address, detail=True, limit=10_000)
    live = [actor for actor in found if actor.class_name.startswith(REPLICA) and actor.state == "ALIVE"]
    return Counter((actor.class_name.removeprefix(REPLICA), actor.node_id or "") for actor in live)


def test_search_stays_off_gpu_nodes_and_encode_on_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cpu_node: Callable[[], Any], gpu_node: Callable[..., Any]
) -> None:
    monkeypatch.setenv("RAYREEL_STORAGE", str(tmp_path))
    monkeypatch.setenv("RAYREEL_ENCODERS__CACHE_DIR", str(WEIGHTS))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    cpu, gpu = cpu_node().node_id, gpu_node(1).node_id
    wanted = service_with_gpus()
    search = next(part for part in wanted["applications"][0]["deployments"] if part["name"] == "search")
    # One more replica than fits on the CPU node; it must not use the GPU node's four CPUs.
    search["autoscaling_config"]["min_replicas"] = 3
    dashboard = ray.init(ignore_reinit_error=True).dashboard_url
    ServeSubmissionClient(f"http://{dashboard}").deploy_applications(wanted)
    expected = Counter({("search", cpu): 2, ("encode", gpu): 1})
    deadline = time.monotonic() + 180
    while replicas() != expected and time.monotonic() < deadline:
        time.sleep(0.5)
    time.sleep(5)
    assert replicas() == expected
