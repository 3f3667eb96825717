"""The Ray that a command runs on: a cluster that is running, or one of its own."""

import logging
import os
import socket
from typing import Any

from rayreel.compat.ray_startup import recorded_address
from rayreel.errors import RayreelError
from rayreel.ray_access import adopt, protect

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

_QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}


class NoCluster(RayreelError):
    """Ray could not be started or joined."""


def use_ray() -> None:
    """Join the running cluster, or start Ray for this process only.

    Ray gets at least 4 CPUs, real or not, because two workers and an encoder need 4.
    """
    import ray

    if not join_ray():
        protect()
        ray.init(address="local", num_cpus=max(4, os.cpu_count() or 1), include_dashboard=False, **_QUIET)
        _silence_ray_data()


def join_ray() -> bool:
    """Join the cluster that RAY_ADDRESS names, or else the one that `ray start` started here. False if there is none.

    Does not use `address="auto"`, which joins any Ray on the machine, even another user's or a test's.
    RAY_ADDRESS=local keeps a command to itself.
    """
    import ray

    if not ray.is_initialized():
        address = _cluster()
        if address is None:
            return False
        if "://" not in address and address != "auto":
            adopt(address)
        try:
            ray.init(address=address, **_QUIET)
        except ConnectionError as error:
            raise NoCluster(f"No Ray cluster answers at {address}: {error}. Start it, or unset RAY_ADDRESS.") from error
        _silence_ray_data()
    return True


def _cluster() -> str | None:
    address = os.environ.get("RAY_ADDRESS", "")
    if address and not address.startswith("http"):  # http: the address for `ray job submit`
        return None if address == "local" else address
    recorded = recorded_address()
    return recorded if recorded and _is_listening(recorded) else None


def _is_listening(address: str) -> bool:
    """Check the recorded address: it outlives a cluster that was killed, and joining that takes minutes to fail."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
    except OSError:
        return False
    return True


def _silence_ray_data() -> None:
    """Turn off Ray Data's progress bars; commands show their own."""
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
