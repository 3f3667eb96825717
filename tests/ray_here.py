"""Ray for tests, and folders for its files."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import ray
from ray.cluster_utils import Cluster

from chain import ROOT
from ports import free_port
from processes import kill_marked

CPUS = 4
# Processes of the cluster get their environment when it starts, not from a test's monkeypatch.
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("tests/forked", "tests", "platform", ".")),
}


@contextmanager
def short_folder() -> Iterator[str]:
    """A folder for RAY_TMPDIR: Ray's sockets allow only short paths."""
    with TemporaryDirectory(prefix="rr", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield folder


@contextmanager
def running_ray(folder: str) -> Iterator[None]:
    """Start a Ray cluster with a job server in RAY_TMPDIR `folder`, and join it.

    Not `ray.init(address="local")`, which forks this process: a fork while gRPC is in use sometimes hangs.
    """
    port = free_port()
    ports = f"--port={port} --dashboard-port={free_port()} --dashboard-agent-listen-port={free_port()}"
    start = f"start --head {ports} --num-cpus={CPUS} --object-store-memory={1 << 30} --include-dashboard=true"
    start += " --include-log-monitor=false"  # which would read all logs ten times a second
    environment = os.environ | ENVIRONMENT | {"RAY_TMPDIR": folder}
    try:
        program = Path(sys.executable).with_name("ray")
        started = subprocess.run(
            [program, *start.split()], env=environment, capture_output=True, text=True, check=False
        )
        assert started.returncode == 0, started.stdout + started.stderr
        ray.init(address=f"127.0.0.1:{port}", configure_logging=False, log_to_driver=False)
        yield
    finally:
        ray.shutdown()
        kill_marked(folder)


@contextmanager
def joined(address: str) -> Iterator[None]:
    """Join another cluster, and at the end rejoin the one that this process had joined, if any."""
    before = ray.get_runtime_context().gcs_address if ray.is_initialized() else None
    ray.shutdown()
    ray.init(address=address, configure_logging=False, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()
        if before:
            ray.init(address=before, configure_logging=False, log_to_driver=False)


@contextmanager
def own_cluster(cpus: int = 0) -> Iterator[Cluster]:
    """A cluster whose head has `cpus` (none: it takes no work, as on Kubernetes), joined by this process.

    Add nodes to it.
    """
    head = {"num_cpus": cpus, "include_dashboard": True, "dashboard_port": None}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        with joined(cluster.address):
            yield cluster
    finally:
        cluster.shutdown()
