"""Start or update the HTTP service on the running cluster."""

import time
from pathlib import Path
from typing import Any

import httpx
import yaml
from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

from cluster import use_cluster
from command import ConfigFile, Port, Sets, StorageRoot, console, finish, run, step
from rayreel.errors import RayreelError
from rayreel.settings import Settings, load_settings

CONFIG = Path(__file__).parents[1] / "serve_apps" / "config.yaml"
APPLICATION = "rayreel"
_PATIENCE_S = 300


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
    }
    http = wanted["http_options"]
    http["port"] = port or http["port"]
    url = f"http://{http['host']}:{http['port']}"
    step(f"Deploying the service to {url}")
    client = ServeSubmissionClient(dashboard)
    client.deploy_applications(wanted)
    with console.status("waiting until it is ready"):
        _wait(client, url)
    return url


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
