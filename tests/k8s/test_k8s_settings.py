"""The settings of the overlays, validated by rayreel, Serve and MLflow."""

import os
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import typer.main
import yaml
from ray.serve.schema import ServeDeploySchema

from k8s_manifests import (
    BUILDS,
    OVERLAY_NAMES,
    ROOT,
    Object,
    cluster_spec,
    everything,
    of_kind,
    quantity,
    rendered,
)
from rayreel.access.config import ServeConfig
from rayreel.cli.main import COMMANDS
from rayreel.settings import load_settings
from rendering import JOBS
from serve_apps.encode import MAX_BATCH

JOB_BUILDS = [name for name in BUILDS if name.endswith("/jobs")]


def settings_of(overlay: str) -> dict[str, str]:
    found: dict[str, str] = next(
        item["data"]
        for item in of_kind(rendered(overlay), "ConfigMap")
        if item["metadata"]["name"] == "rayreel-settings"
    )
    return found


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_settings_of_overlays_are_valid(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("RAYREEL_")]:
        monkeypatch.delenv(name)
    variables = {key: value for key, value in settings_of(overlay).items() if key != "RAYREEL_LOG"}
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    settings = load_settings()
    assert settings.storage == variables["RAYREEL_STORAGE"]
    assert settings.serve.needs_keys("0.0.0.0")
    assert settings.weights_cache == Path("/opt/rayreel/weights")
    for key in variables:
        if key.startswith("RAYREEL_"):
            assert key in {f"RAYREEL_{known}".upper() for known in leaves(settings.model_dump())}, key


def leaves(tree: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key, value in tree.items():
        found.append(f"{prefix}{key}")
        if isinstance(value, dict):
            found += leaves(value, f"{prefix}{key}__")
    return found


def options_of(job: str) -> click.Command:
    app = typer.Typer()
    app.command()(COMMANDS[job.replace("_", "-")][0])
    command: Any = typer.main.get_command(app)
    found: click.Command = command
    return found


@pytest.mark.parametrize("build", JOB_BUILDS)
def test_every_job_runs_an_existing_script_with_existing_options(build: str) -> None:
    jobs = {item["metadata"]["name"]: item for item in rendered(build)}
    assert sorted(jobs) == sorted(JOBS)
    for name, item in jobs.items():
        program, script, *words = shlex.split(item["spec"]["entrypoint"])
        assert (program, script) == ("python", f"/opt/rayreel/jobs/{name}.py")
        assert (ROOT / "jobs" / f"{name}.py").exists()
        context = options_of(name).make_context(name, list(words), resilient_parsing=False)
        sets = context.params.get("sets") or []
        load_settings(None, sets)


def serve_config(item: Object) -> Object:
    found: Object = yaml.safe_load(item["spec"]["serveConfigV2"])
    return found


def test_the_image_is_where_the_jobs_expect_it() -> None:
    dockerfile = (ROOT / "k8s" / "Dockerfile").read_text()
    assert "WORKDIR /opt/rayreel" in dockerfile
    assert "/opt/rayreel/weights" in dockerfile


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_serve_accepts_its_config_and_it_names_the_deployments(overlay: str) -> None:
    config = serve_config(of_kind(rendered(overlay), "RayService")[0])
    ServeDeploySchema.model_validate(config)
    local = yaml.safe_load((ROOT / "serve_apps" / "config.yaml").read_text())
    ours, known = config["applications"][0], local["applications"][0]
    for key in ("name", "route_prefix", "import_path"):
        assert ours[key] == known[key]
    assert {d["name"] for d in ours["deployments"]} == {d["name"] for d in known["deployments"]}
    source = "".join(path.read_text() for path in (ROOT / "serve_apps").rglob("*.py"))
    for deployment in ours["deployments"]:
        assert re.search(rf'deployment\([^)]*name="{deployment["name"]}"', source), deployment["name"]
    assert config["http_options"]["host"] == "0.0.0.0"


LOCAL = yaml.safe_load((ROOT / "serve_apps" / "config.yaml").read_text())


def deployments_of(config: Object) -> dict[str, Object]:
    return {item["name"]: item for item in config["applications"][0]["deployments"]}


@pytest.mark.parametrize("overlay", [None, *OVERLAY_NAMES])
def test_a_stopping_replica_may_finish_every_request(overlay: str | None) -> None:
    """The time limits of Serve's configurations and of pods agree with the settings, which they cannot read."""
    service = of_kind(rendered(overlay), "RayService")[0] if overlay else None
    serving = ServeConfig()
    for deployment in deployments_of(serve_config(service) if service else LOCAL).values():
        stopping_s = deployment["graceful_shutdown_timeout_s"]
        assert stopping_s >= serving.shutdown_s
        for group in cluster_spec(service)["workerGroupSpecs"] if service else ():
            spec = group["template"]["spec"]
            words = " ".join(spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"])
            ray_stop_s = int(words.rpartition("--grace-period ")[2])
            assert stopping_s < ray_stop_s < spec["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("overlay", [None, *OVERLAY_NAMES])
def test_batches_and_shares_of_gpus_agree_with_the_code(overlay: str | None) -> None:
    service = of_kind(rendered(overlay), "RayService")[0] if overlay else None
    encode = deployments_of(serve_config(service) if service else LOCAL)["encode"]
    assert encode.get("user_config", {}).get("max_batch_size", 1) <= encode["max_ongoing_requests"]
    assert encode["ray_actor_options"].get("num_gpus") in {None, ServeConfig().gpus_per_encoder}
    if overlay is None:
        assert encode["user_config"]["max_batch_size"] == MAX_BATCH


@pytest.mark.parametrize("overlay", ["gpu", "production"])
def test_search_has_the_same_limits_in_clusters_as_on_one_machine(overlay: str) -> None:
    size = {"autoscaling_config", "ray_actor_options"}
    here, there = (
        {key: value for key, value in deployments_of(config)["search"].items() if key not in size}
        for config in (LOCAL, serve_config(of_kind(rendered(overlay), "RayService")[0]))
    )
    assert here == there


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_the_fewest_and_the_most_replicas_fit_into_the_groups(overlay: str) -> None:
    """The fewest replicas fit into the fewest pods and the most into the most, by CPUs, GPUs and pool."""
    item = of_kind(rendered(overlay), "RayService")[0]
    groups = cluster_spec(item)["workerGroupSpecs"]
    for which, pods_field in (("min_replicas", "minReplicas"), ("max_replicas", "maxReplicas")):
        room: dict[str, dict[str, float]] = {}
        for group in groups:
            limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
            pool = room.setdefault(group["labels"]["rayreel.io/pool"], {"cpu": 0, "gpu": 0})
            pool["cpu"] += group[pods_field] * quantity(limits["cpu"])
            pool["gpu"] += group[pods_field] * quantity(limits.get("nvidia.com/gpu", 0))
        for deployment in serve_config(item)["applications"][0]["deployments"]:
            count = deployment.get("num_replicas") or deployment["autoscaling_config"][which]
            options = deployment["ray_actor_options"]
            pool = room[options.get("label_selector", {}).get("rayreel.io/pool", "cpu")]
            pool["cpu"] -= count * options["num_cpus"]
            pool["gpu"] -= count * options.get("num_gpus", 0)
        assert all(left >= 0 for pool in room.values() for left in pool.values()), (which, room)


@pytest.mark.parametrize("overlay", ["gpu", "production"])
def test_cpu_replicas_stay_on_cpu_nodes_and_gpu_replicas_on_gpu_nodes(overlay: str) -> None:
    item = of_kind(rendered(overlay), "RayService")[0]
    pools = {group["labels"]["rayreel.io/pool"] for group in cluster_spec(item)["workerGroupSpecs"]}
    for deployment in serve_config(item)["applications"][0]["deployments"]:
        options = deployment["ray_actor_options"]
        pool = options["label_selector"]["rayreel.io/pool"]
        assert pool in pools
        assert (pool == "gpu") == ("num_gpus" in options)


@pytest.mark.parametrize("overlay", ["gpu", "production"])
def test_gpu_groups_start_from_zero_if_the_job_requests_gpus(overlay: str) -> None:
    groups = [
        (item["metadata"]["name"], group)
        for item in rendered(f"{overlay}/jobs")
        for group in cluster_spec(item)["workerGroupSpecs"]
        if group["labels"]["rayreel.io/pool"] == "gpu"
    ]
    assert sorted(name for name, _ in groups) == ["extract", "promote", "train"]
    for name, group in groups:
        # Promotion only checks whether there is a GPU, which would not start one.
        least = 1 if name == "promote" else 0
        assert (group["replicas"], group["minReplicas"]) == (least, least)
        assert least or group["idleTimeoutSeconds"] > 0
    train = dict(groups)["train"]["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]
    assert int(train) > 1
    assert dict(groups)["train"]["maxReplicas"] > 1


def most(item: Object) -> dict[str, float]:
    """Return the requests of a Ray cluster at its largest."""
    cluster = cluster_spec(item)
    requested = {"requests.cpu": 0.0, "requests.memory": 0.0, "requests.nvidia.com/gpu": 0.0, "pods": 0.0}
    parts = [(1, cluster["headGroupSpec"]), *((g["maxReplicas"], g) for g in cluster["workerGroupSpecs"])]
    for count, group in parts:
        requests = group["template"]["spec"]["containers"][0]["resources"]["requests"]
        requested["pods"] += count
        for kind in ("cpu", "memory", "nvidia.com/gpu"):
            requested[f"requests.{kind}"] += count * quantity(requests.get(kind, 0))
    autoscaler = cluster["autoscalerOptions"]["resources"]["requests"]
    requested["requests.cpu"] += quantity(autoscaler["cpu"])
    requested["requests.memory"] += quantity(autoscaler["memory"])
    return requested


def test_the_quota_allows_an_upgrade_of_the_service_during_the_largest_jobs() -> None:
    objects = everything("production")
    hard = {key: quantity(value) for key, value in of_kind(objects, "ResourceQuota")[0]["spec"]["hard"].items()}
    service = most(of_kind(objects, "RayService")[0])
    jobs = {item["metadata"]["name"]: most(item) for item in of_kind(objects, "RayJob")}
    for key, requested in service.items():
        assert 2 * requested + jobs["extract"][key] + jobs["train"][key] <= hard[key], key


def test_every_job_has_retries_deadlines_and_deletion_rules() -> None:
    for name in JOB_BUILDS:
        for item in rendered(name):
            spec = item["spec"]
            assert spec["backoffLimit"] >= 1
            assert spec["preRunningDeadlineSeconds"] < spec["activeDeadlineSeconds"]
            policies = {rule["policy"] for rule in spec["deletionStrategy"]["deletionRules"]}
            assert policies == {"DeleteCluster", "DeleteSelf"}


def test_the_schedule_runs_existing_commands_of_the_submit_tool(capsys: pytest.CaptureFixture[str]) -> None:
    import submit

    known = {command.name or "" for command in submit.app.registered_commands}
    cron = of_kind(rendered("production"), "CronJob")[0]
    lines = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"][0].splitlines()
    lines = [line for line in lines if line.startswith("python")]
    assert [shlex.split(line)[2] for line in lines] == ["extract", "index"]
    assert {shlex.split(line)[2] for line in lines} <= known
    assert all("/etc/rayreel/jobs/" in line and "--follow" in line for line in lines)
