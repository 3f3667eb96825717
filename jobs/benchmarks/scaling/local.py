"""A cluster of local nodes, each on a core of its own, and runs on it beside their prediction."""

import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import ray
import ray.data
from ray.cluster_utils import Cluster

from benchmarks.scaling.cluster import ClusterConfig
from benchmarks.scaling.costs import Costs
from benchmarks.scaling.measure import measure_costs
from benchmarks.scaling.processors import Moment, cores_given
from benchmarks.scaling.simulate import cut, simulate
from rayreel.catalog.read import Catalog
from rayreel.catalog.video import CatalogVideo
from rayreel.errors import RayreelError
from rayreel.features.extract import extract
from rayreel.features.key import EncoderKey
from rayreel.features.pipeline import Pipeline
from rayreel.features.store import FeatureStore
from rayreel.ray_access import protect
from rayreel.storage import Storage

MEASURED = 4  # videos of a measured block: few, so that a small sample has many blocks
CHECKED = 16  # videos of a block of the runs that check a prediction
REPEAT = 6  # how often these take every video
_OBJECT_STORE = 1 << 30
# Ray ends workers beyond one for each CPU after a second without work, and starting one costs more than many a block.
_WORKERS = {"num_workers_soft_limit": 16}
_HEAD = {
    "num_cpus": 0,
    "object_store_memory": _OBJECT_STORE,
    "include_dashboard": False,
    "_system_config": _WORKERS,
}
# Numbers by which Ray puts one encoder on each node, and beside it two decode tasks and what stores. Costs are measured
# with as many processes on a core: alone on it, one would find its data in the cache, and be a third faster.
_NODE_CPUS = 3
_ENCODER_CPUS = 1.75


class TooFewCores(RayreelError):
    """Every local node needs a core of its own."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One run on local nodes, videos per second in steady state, beside simulations of it (one per seed).

    `given` is the share of each node's core that others on the machine left to it while it ran; the simulated nodes
    have so much of a core.
    """

    nodes: int
    costs: Costs
    given: float
    measured: float
    predicted: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """The mean prediction over the measurement."""
        return float(np.mean(self.predicted)) / self.measured


@contextmanager
def local_nodes(count: int) -> Iterator[None]:
    """A Ray cluster of so many nodes on this machine, and a head without CPUs; the caller is its driver.

    Each node is pinned to one core, which its processes inherit: a second node brings a second core, as in a cluster.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < count:
        raise TooFewCores(f"{count} nodes need {count} cores; this machine gives {len(cores)}. Ask for fewer nodes.")
    protect()
    cluster = Cluster(initialize_head=True, head_node_args=_HEAD)
    try:
        for core in cores[:count]:
            os.sched_setaffinity(0, {core})
            cluster.add_node(num_cpus=_NODE_CPUS, object_store_memory=_OBJECT_STORE)
        os.sched_setaffinity(0, cores)
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        yield
    finally:
        os.sched_setaffinity(0, cores)
        ray.shutdown()
        cluster.shutdown()


def measure_here(videos: Sequence[CatalogVideo], key: EncoderKey, pipeline: Pipeline) -> Costs:
    """Costs of small blocks with all cores busy, each as a node; Ray's overhead is that of blocks as configured."""
    count = len(os.sched_getaffinity(0))
    with local_nodes(count):
        return measure_costs(videos, key, _on(pipeline, count), _NODE_CPUS * count, MEASURED)


def compare_nodes(
    videos: Sequence[CatalogVideo], key: EncoderKey, pipeline: Pipeline, nodes: int, *, seeds: int = 5
) -> Compared:
    """Measure costs on so many local nodes, predict from them how fast extraction is there, and extract.

    Every video `REPEAT` times as distinct ids. What is predicted is never fitted to the run.
    """
    small = _on(pipeline, nodes)
    small = replace(small, config=small.config.model_copy(update={"videos_per_block": CHECKED}))
    many = [video.model_copy(update={"video_id": f"{video.video_id}#{n}"}) for n in range(REPEAT) for video in videos]
    with local_nodes(nodes), tempfile.TemporaryDirectory(prefix="rayreel-benchmark-") as folder:
        costs = measure_costs(videos, key, small, _NODE_CPUS * nodes, MEASURED)
        measured, given = _extract(many, FeatureStore(Storage(folder), key), small)
    cluster, sizes = as_simulated(small, nodes, given), cut(len(many), CHECKED)
    runs = [simulate(cluster, costs, sizes, seed).throughput.videos_per_s for seed in range(seeds)]
    return Compared(nodes, costs, given, measured, tuple(runs))


def _extract(videos: list[CatalogVideo], store: FeatureStore, pipeline: Pipeline) -> tuple[float, float]:
    """Videos per second, and the share of the nodes' cores that was there for it.

    Both without the first quarter: an encoder that has loaded its networks begins while others still load theirs.
    """
    told: list[tuple[int, Moment]] = []
    extract(
        Catalog("benchmark", videos),
        store,
        pipeline,
        progress=lambda throughput, _: told.append((throughput.videos, Moment.now())),
    )
    (before, begin), *_, (after, end) = [one for one in told if one[0] >= len(videos) / 4]
    nodes = pipeline.config.encoder_actors
    cores = sorted(os.sched_getaffinity(0))[:nodes]
    return (after - before) / (end.at - begin.at), cores_given(begin, end, cores, with_driver=_all_cores(nodes))


def as_simulated(pipeline: Pipeline, nodes: int, given: float = 1.0) -> ClusterConfig:
    """The local nodes as the simulation has them; where they take all cores, the driver works on theirs."""
    config = pipeline.config
    return ClusterConfig(
        nodes=nodes,
        cores=given,
        decode_slots=int((_NODE_CPUS - _ENCODER_CPUS) / config.cpus_per_decode),
        encoders=1,
        blocks_in_flight=nodes * config.blocks_in_flight,
        warm_nodes=nodes,
        shared_driver=_all_cores(nodes),
    )


def _on(pipeline: Pipeline, nodes: int) -> Pipeline:
    """One encoder on each node, of one thread."""
    anywhere: dict[str, object] = {"decode_on": {}, "encode_on": {}, "gpus_per_encoder": 0.0}
    update = {"encoder_actors": nodes, "encoder_threads": 1, "cpus_per_encoder": _ENCODER_CPUS, **anywhere}
    return replace(pipeline, config=pipeline.config.model_copy(update=update))


def _all_cores(nodes: int) -> bool:
    return nodes >= len(os.sched_getaffinity(0))
