"""The local Ray cluster of quickstart and serve, which outlives the command."""

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import ray

import serve_apps
from rayreel.cli.output import step
from rayreel.cli.steps.ray_session import NoCluster, join_ray
from rayreel.compat.ray_serve import haproxy_variables
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
    joined = ray.init(ray.get_runtime_context().gcs_address, ignore_reinit_error=True, configure_logging=False)
    return f"http://{joined.dashboard_url}"


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
    bin_folder, serve = str(Path(sys.executable).parent), settings.serve
    return {
        **haproxy_variables(_free_ports(3), timeout_s=serve.proxy_timeout_s, shutdown_s=serve.shutdown_s),
        **os.environ,
        **protected(),
        # `ray job submit -- python …` must find this Python even if the environment was never activated.
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "RAYREEL_STORAGE": settings.place.root,
        # Submitted jobs run from an uploaded copy without .git.
        "RAYREEL_GIT_COMMIT": git_commit(),
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
