"""The HTTP service over a release of made-up videos, in a Ray of its own that ends with the measurement."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import ray
from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

from benchmarks.serving.release import make_release
from benchmarks.variants import Given
from rayreel.cli.steps.cluster import environment
from rayreel.cli.steps.serve import APPLICATION, serve
from rayreel.errors import RayreelError
from rayreel.index.embedded import stop_embedded
from rayreel.ray_access import protect
from rayreel.release.registry import Version
from rayreel.release.snapshot import Snapshot, load_snapshot
from rayreel.settings import Settings, load_settings


class RayRuns(RayreelError):
    """A Ray is running already, and its service would be replaced."""


@dataclass(frozen=True, slots=True)
class Served:
    """A running service and what it serves."""

    settings: Settings
    version: Version
    snapshot: Snapshot
    url: str
    dashboard: str

    @property
    def host(self) -> str:
        """Where it listens."""
        return str(urlsplit(self.url).hostname)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(urlsplit(self.url).port or 80)


@contextmanager
def running(settings: Settings, videos: int, given: Given) -> Iterator[Served]:
    """Make the release, deploy serve_apps/config.yaml as jobs/serve.py does, and take everything down at the end.

    The made-up videos live in a storage of their own below `settings`'.
    """
    root = settings.place.local("benchmarks", f"serving-{videos}", what="The benchmark of serving")
    sets = [*given.sets, f"encoders.cache_dir={settings.weights_cache}"]
    inner = load_settings(given.config, sets, str(root))
    with own_ray(inner):
        version = make_release(inner, videos)
        snapshot = load_snapshot(inner.place, version.number, root / "cache")
        url = serve(inner, given.config, sets, free_port())
        yield Served(inner, version, snapshot, url, dashboard_url())


@contextmanager
def own_ray(settings: Settings) -> Iterator[None]:
    """A Ray that is prepared for serving as `cluster.start` prepares one; it ends with the block."""
    if ray.is_initialized():
        raise RayRuns("This process has joined a Ray already. Run the benchmark of serving by itself.")
    os.environ.pop("RAY_ADDRESS", None)
    os.environ.update(environment(settings))
    protect()
    ray.init(address="local", num_cpus=max(4, os.cpu_count() or 1), include_dashboard=True, log_to_driver=False)
    try:
        yield
    finally:
        from ray import serve as ray_serve

        ray_serve.shutdown()  # HAProxy is a process that Ray does not know
        if settings.milvus_dir is not None:
            stop_embedded(settings.milvus_dir)
        ray.shutdown()


def dashboard_url() -> str:
    """Of the Ray that this process has joined."""
    return f"http://{ray.get_runtime_context().worker.node.webui_url}"


def reconfigure(dashboard: str, deployment: str, user_config: dict[str, Any]) -> None:
    """Give a deployment's replicas another `user_config`, without restarting them."""
    client = ServeSubmissionClient(dashboard)
    details = client.get_serve_details()
    application = details["applications"][APPLICATION]["deployed_app_config"]
    next(part for part in application["deployments"] if part["name"] == deployment)["user_config"] = user_config
    client.deploy_applications({"applications": [application], "http_options": details["http_options"]})


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
