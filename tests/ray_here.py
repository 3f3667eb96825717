"""Ray in the test process, and folders for its files."""

from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

import ray
from ray.cluster_utils import Cluster


@contextmanager
def short_folder() -> Iterator[str]:
    """A folder for RAY_TMPDIR: Ray's sockets allow only short paths."""
    with TemporaryDirectory(prefix="rr", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield folder


@contextmanager
def own_ray() -> Iterator[None]:
    """Run Ray in this process, or use the one already running."""
    if ray.is_initialized():
        yield
        return
    ray.init(address="local", num_cpus=3, include_dashboard=False, configure_logging=False)
    yield
    ray.shutdown()


@contextmanager
def own_cluster() -> Iterator[Cluster]:
    """A cluster with a head that takes no work, as on Kubernetes, joined by this process. Add nodes to it."""
    ray.shutdown()
    head = {"num_cpus": 0, "include_dashboard": True, "dashboard_port": None}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    ray.init(address=cluster.address, configure_logging=False, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()
