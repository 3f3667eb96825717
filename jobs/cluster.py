"""The local Ray cluster that quickstart and serve stand on."""

import os
import subprocess
import sys
from pathlib import Path

import ray

from command import join_ray, step
from rayreel.errors import RayreelError
from rayreel.settings import Settings
from rayreel.training.tracking import git_commit


class NoCluster(RayreelError):
    """Ray could not be started."""


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
    """`ray start` on loopback, its jobs and replicas reading and writing the same storage as this process."""
    program = Path(sys.executable).parent / "ray"
    command = [str(program), "start", "--head", "--port=0", "--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1"]
    command += [f"--num-cpus={max(4, os.cpu_count() or 1)}", "--include-dashboard=true", "--disable-usage-stats"]
    done = subprocess.run(command, env=environment(settings), capture_output=True, text=True, check=False)
    if done.returncode:
        said = f"{done.stdout}{done.stderr}"[-3000:]
        raise NoCluster(f"{' '.join(command)} failed:\n{said}\n`make stop` ends what is left of it.")


def environment(settings: Settings) -> dict[str, str]:
    """This process's environment, with what every process of the cluster needs to know."""
    bin_folder = str(Path(sys.executable).parent)
    return {
        **os.environ,
        # `ray job submit -- python …` must find this Python, also when the environment was never activated.
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "RAYREEL_STORAGE": settings.place.root,
        # Submitted jobs run from an uploaded copy without .git.
        "RAYREEL_GIT_COMMIT": git_commit(),
    }
