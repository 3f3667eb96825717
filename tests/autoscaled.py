"""A Ray cluster with autoscaled node groups: Ray's autoscaler with simulated machines.

Not Ray's own `AutoscalingCluster`: it needs a file that is not in the wheel, and stops every Ray on the machine.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID, FakeMultiNodeProvider

from processes import kill_marked

HEAD = "ray.head.default"


@contextmanager
def autoscaled(groups: dict[str, dict[str, Any]], ray_folder: str, idle_s: float) -> Iterator[str]:
    """Yield the address of a cluster with a head that takes no work, and groups as in a cluster-launcher file."""
    port, client = _free_ports()
    address = f"127.0.0.1:{port}"
    file = Path(ray_folder) / "autoscaling.yaml"
    file.write_text(yaml.safe_dump(_config(groups, address, idle_s)))
    variables = {
        "RAY_TMPDIR": ray_folder,
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_FAKE_CLUSTER": "1",
        "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
    }
    # Ray's default ports are the same for every cluster on a machine, and may be in use.
    words = [f"--port={port}", f"--ray-client-server-port={client}", "--dashboard-agent-listen-port=0"]
    words += ["--num-cpus=0"]
    words += [f"--autoscaling-config={file}", "--include-dashboard=false", "--disable-usage-stats"]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", *words]
    try:
        started = subprocess.run(command, env=os.environ | variables, check=False, capture_output=True, text=True)
        assert started.returncode == 0, started.stdout + started.stderr
        yield address
    finally:
        kill_marked(ray_folder)


def _free_ports() -> tuple[int, int]:
    """Ports below the ephemeral range: another cluster's GCS could take one of those and share it with this one."""
    for port in range(20_000 + os.getpid() % 9_000, 30_000, 2):
        with socket.socket() as first, socket.socket() as second, suppress(OSError):
            first.bind(("", port))
            second.bind(("", port + 1))
            return port, port + 1
    raise OSError("no free ports")


def _config(groups: dict[str, dict[str, Any]], address: str, idle_s: float) -> dict[str, Any]:
    provider = {
        # By class, as the defaults for its name are in a file that is not in the wheel.
        "type": "external",
        "module": f"{FakeMultiNodeProvider.__module__}.{FakeMultiNodeProvider.__name__}",
        "use_node_id_as_ip": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
        "launch_multiple": True,
        "head_node_id": FAKE_HEAD_NODE_ID,
        "gcs_address": address,
    }
    head = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
    workers = {name: {"node_config": {}, "min_workers": 0, **group} for name, group in groups.items()}
    return {
        "cluster_name": "fake_multinode",
        "max_workers": sum(group["max_workers"] for group in groups.values()),
        "idle_timeout_minutes": idle_s / 60,
        "upscaling_speed": 4.0,
        "provider": provider,
        "head_node_type": HEAD,
        "available_node_types": {HEAD: head, **workers},
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "cluster_synced_files": [],
        "file_mounts_sync_continuously": False,
        "rsync_exclude": [],
        "rsync_filter": [],
        "initialization_commands": [],
        "setup_commands": [],
        "head_setup_commands": [],
        "worker_setup_commands": [],
        "head_start_ray_commands": [],
        "worker_start_ray_commands": [],
    }
