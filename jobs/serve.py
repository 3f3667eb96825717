"""Start or update the HTTP service on the running cluster."""

import time
from pathlib import Path
from typing import Any

import httpx
import ray
import yaml
from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

from cluster import use_cluster
from command import ConfigFile, Port, Sets, StorageRoot, console, finish, run, step
from rayreel.errors import RayreelError
from rayreel.settings import Settings, load_settings
from rayreel.training.tracking import git_commit

CONFIG = Path(__file__).parents[1] / "serve_apps" / "config.yaml"
APPLICATION = "rayreel"
_PATIENCE_S = 300
# A share, so that a new replica can start beside the old one.
GPUS_PER_ENCODER = 0.25


class NotReady(RayreelError):
    """The service did not come up."""


def main(port: Port = None, config: ConfigFile = None, sets: Sets = None, storage: StorageRoot = None) -> None:
    """Deploy serve_apps/config.yaml with these settings, on the running Ray cluster or a new local one, and wait.

    The service keeps running; `make stop` ends it.
    """
    settings = load_settings(config, sets or [], storage)
    url = serve(settings, config, sets or [], port)
    finish(f"nothing; the service runs at {url}", f"open {url}/docs, or end it with make stop")


def serve(settings: Settings, config: Path | None, sets: list[str], port: int | None) -> str:
    """Deploy and wait until a release can be searched; returns the service's URL."""
    dashboard = use_cluster(settings)
    wanted = yaml.safe_load(CONFIG.read_text())
    wanted["applications"][0]["args"] = {
        "storage": settings.place.root,
        "sets": sets,
        "config": str(config.resolve()) if config else None,
        # Serve replaces replicas only where something here has changed.
        "commit": git_commit(),
    }
    http = wanted["http_options"]
    http |= {"host": settings.serve.host, "port": port or http["port"]}
    if ray.cluster_resources().get("GPU"):
        encode = next(part for part in wanted["applications"][0]["deployments"] if part["name"] == "encode")
        encode["ray_actor_options"]["num_gpus"] = GPUS_PER_ENCODER
    url = f"http://{_reachable(settings.serve.host)}:{http['port']}"
    step(f"Deploying the service to {url}")
    client = ServeSubmissionClient(dashboard)
    client.deploy_applications(wanted)
    with console.status("waiting until it is ready"):
        _wait(client, url)
    return url


def _reachable(host: str) -> str:
    """Where to ask a service that listens on `host`."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not listened on
    return f"[{address}]" if ":" in address else address


def _wait(client: ServeSubmissionClient, url: str) -> None:
    """Until the new replicas, and only they, are there and ready: an updated service goes on answering from the old."""
    last: str | None = "not deployed yet"
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        application: dict[str, Any] = client.get_serve_details()["applications"].get(APPLICATION, {})
        status = application.get("status")
        if status == "DEPLOY_FAILED":
            raise NotReady(f"Deploying failed: {application['message']}")
        if status == "RUNNING" and (last := _complaint(url)) is None:
            return
        time.sleep(0.5)
    raise NotReady(f"{url}/readyz was not ready within {_PATIENCE_S} s: {last}. See the dashboard's Serve page.")


def _complaint(url: str) -> str | None:
    """What keeps the service from being ready; None when it is."""
    try:
        answer = httpx.get(f"{url}/readyz", timeout=30)
    except httpx.HTTPError as error:
        return str(error)
    return None if answer.status_code == httpx.codes.OK else answer.text


if __name__ == "__main__":
    run(main)
