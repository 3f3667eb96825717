"""Deploying the HTTP service and waiting until it is ready."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import ray
import yaml

from rayreel.cli.output import console, step
from rayreel.cli.steps.cluster import SERVE_APPS, use_cluster
from rayreel.compat.ray_serve import deployer
from rayreel.errors import RayreelError
from rayreel.settings import Settings
from rayreel.training.tracking import git_commit

CONFIG = SERVE_APPS / "config.yaml"
APPLICATION = "rayreel"


class NotReady(RayreelError):
    """The service did not become ready."""


def serve(settings: Settings, config: Path | None, sets: list[str], port: int | None) -> str:
    """Deploy and wait until a release can be searched. Return the service's URL. Raises NotReady."""
    dashboard = use_cluster(settings)
    deployment = yaml.safe_load(CONFIG.read_text())
    deployment["applications"][0]["args"] = {
        "storage": settings.place.root,
        "sets": sets,
        "config": str(config.resolve()) if config else None,
        # Serve replaces replicas only if one of these arguments changes.
        "commit": git_commit(),
    }
    http = deployment["http_options"]
    http |= {"host": settings.serve.host, "port": port or http["port"]}
    for part in deployment["applications"][0]["deployments"]:
        part["graceful_shutdown_timeout_s"] = max(part["graceful_shutdown_timeout_s"], settings.serve.shutdown_s)
        if part["name"] == "encode" and ray.cluster_resources().get("GPU"):
            part["ray_actor_options"]["num_gpus"] = settings.serve.gpus_per_encoder
    url = f"http://{_reachable(settings.serve.host)}:{http['port']}"
    step(f"Deploying the service to {url}")
    client = deployer(dashboard)
    client.deploy_applications(deployment)
    with console.status("waiting until it is ready"):
        _wait(client.get_serve_details, url, settings.serve.deploy_wait_s)
    return url


def _reachable(host: str) -> str:
    """Return the address at which this machine reaches a service that listens on `host`."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not listened on
    return f"[{address}]" if ":" in address else address


def _wait(details: Callable[[], dict[str, Any]], url: str, seconds: float) -> None:
    """Wait until all replicas are new and ready: during an update, the old replicas continue to answer."""
    problem: str | None = "not deployed yet"
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        application: dict[str, Any] = details()["applications"].get(APPLICATION, {})
        status = application.get("status")
        if status == "DEPLOY_FAILED":
            raise NotReady(f"Deploying failed: {application['message']}")
        if status == "RUNNING" and (problem := _problem(url)) is None:
            return
        time.sleep(0.5)
    raise NotReady(f"{url}/readyz was not ready within {seconds:g} s: {problem}. See the dashboard's Serve page.")


def _problem(url: str) -> str | None:
    """Return why the service is not ready, None if it is."""
    try:
        answer = httpx.get(f"{url}/readyz", timeout=30)
    except httpx.HTTPError as error:
        return str(error)
    return None if answer.status_code == httpx.codes.OK else answer.text
