"""Milvus Lite in a Ray actor: one process owns the data directory, the others connect to its address.

Milvus Lite locks its directory for one process. A named detached actor is that process, so all jobs and replicas of a
Ray cluster share one index exactly as they would share a Milvus server.
"""

import hashlib
import os
import socket
from contextlib import suppress
from pathlib import Path

import ray
from ray.exceptions import ActorDiedError, GetTimeoutError, RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from rayreel.index.config import IndexUnavailable

NAMESPACE = "rayreel"
# Above Ray's worker ports and below Linux's ephemeral ports, so that nothing takes the port while an owner restarts.
PORTS = range(20_000, 30_000)
START_TIMEOUT_S = 120.0
REMEDY = "Stop the process that uses the directory, choose another storage root, or set MILVUS_URI to a Milvus server."


class MilvusLiteOwner:
    """Owns one Milvus Lite directory and serves it on 127.0.0.1. Runs as an actor, see `embedded_address`."""

    def __init__(self, data_dir: str, port: int) -> None:
        import faiss  # only the owner needs it and Milvus Lite, which take a second

        from rayreel.compat.milvus_lite import open_database, serve

        # Ray gives an actor without CPUs one OpenMP thread; an HNSW build takes twice as long with one as with two.
        faiss.omp_set_num_threads(len(os.sched_getaffinity(0)))
        self._address = f"127.0.0.1:{port}"
        self._database = open_database(data_dir)
        self._server = serve(self._database, self._address)

    def location(self) -> tuple[str, str]:
        """Return the server's address and the id of its Ray node."""
        return f"http://{self._address}", ray.get_runtime_context().get_node_id()

    def close(self) -> None:
        """Finish running requests, flush all data and release the directory. Idempotent."""
        self._server.stop(grace=5).wait()
        self._database.close()


def owner_name(data_dir: Path) -> str:
    """Return the name of the actor that owns a directory."""
    return f"milvus-lite-{_digest(data_dir):016x}"


def embedded_address(data_dir: Path) -> str:
    """Return the http address of the Milvus Lite that owns `data_dir`, starting it if needed.

    Raises:
        IndexUnavailable: Ray is not running, another process uses the directory, or its owner is on another node.
    """
    if not ray.is_initialized():
        raise IndexUnavailable(f"Milvus Lite in {data_dir}: Ray is not running. Call ray.init(), or set MILVUS_URI.")
    try:
        address, node = _locate_owner(data_dir)
    except (RayActorError, GetTimeoutError) as error:
        cause = str(error).strip().splitlines()[-1]
        raise IndexUnavailable(f"Milvus Lite in {data_dir} did not start: {cause}. {REMEDY}") from error
    if node != ray.get_runtime_context().get_node_id():
        raise IndexUnavailable(
            f"Milvus Lite in {data_dir} runs on Ray node {node} and is not reachable from other nodes. "
            "Set MILVUS_URI to a Milvus server that every node can reach."
        )
    return address


def stop_embedded(data_dir: Path) -> None:
    """Flush all data, release the directory and stop its owner. Does nothing if no owner or no Ray is running."""
    if not ray.is_initialized():  # the owner ended with Ray, and `get_actor` would start another Ray
        return
    try:
        owner = ray.get_actor(owner_name(data_dir), namespace=NAMESPACE)
    except ValueError:
        return
    ray.get(owner.close.remote())
    ray.kill(owner, no_restart=True)


def _is_stopping(error: BaseException) -> bool:
    """A stopped owner keeps its name for a moment; an owner that failed to start would fail again."""
    return isinstance(error, ActorDiedError) and not error.actor_init_failed


@retry(retry=retry_if_exception(_is_stopping), stop=stop_after_delay(10), wait=wait_fixed(0.1), reraise=True)
def _locate_owner(data_dir: Path) -> tuple[str, str]:
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    owner = (
        ray.remote(MilvusLiteOwner)
        .options(
            name=owner_name(data_dir),
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=-1,
            scheduling_strategy=here,
        )
        .remote(str(data_dir.resolve()), _free_port(data_dir))
    )
    location: tuple[str, str] = ray.get(owner.location.remote(), timeout=START_TIMEOUT_S)
    return location


def _digest(data_dir: Path) -> int:
    return int.from_bytes(hashlib.blake2b(str(data_dir.resolve()).encode(), digest_size=8).digest())


def _free_port(data_dir: Path) -> int:
    """A directory's own port, or the next free one. Chosen before the actor starts, so that restarts keep it."""
    start = _digest(data_dir) % len(PORTS)
    for offset in range(len(PORTS)):
        port = PORTS[(start + offset) % len(PORTS)]
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise IndexUnavailable(f"Milvus Lite in {data_dir}: no free port in {PORTS}. Set MILVUS_URI to a Milvus server.")
