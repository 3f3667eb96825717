"""The same work on more and more nodes."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.scaling.cluster import ClusterConfig
from benchmarks.scaling.costs import Costs
from benchmarks.scaling.simulate import cut, simulate
from benchmarks.scaling.simulated import Simulated


@dataclass(frozen=True, slots=True)
class Load:
    """How much there is to do, and in which pieces. `fixed` videos in all, or `per_node` videos for every node."""

    fixed: int
    per_node: int
    videos_per_block: int


@dataclass(frozen=True, slots=True)
class Size:
    """One number of nodes, in three runs.

    `bounded` and `roomy` have work in proportion to the nodes, which are all there with their encoders loaded, so that
    they show the steady state: with as many blocks in flight as configured, and with as many as keep every slot and
    actor busy. `fixed` is roomy with the same work at every size, and everything that comes before and goes wrong.
    """

    nodes: int
    bounded: Simulated
    roomy: Simulated
    fixed: Simulated


def sweep(cluster: ClusterConfig, costs: Costs, load: Load, nodes: Sequence[int], seed: int = 0) -> list[Size]:
    """Simulate each number of nodes; GPUs grow in proportion. `cluster` tells of one node (and so many GPUs)."""
    return [_size(grown(cluster, count), costs, load, seed) for count in nodes]


def grown(cluster: ClusterConfig, nodes: int) -> ClusterConfig:
    """A cluster of so many times the nodes, GPUs and blocks in flight."""
    growing = ("nodes", "gpus", "blocks_in_flight")
    return cluster.model_copy(update={name: nodes * getattr(cluster, name) for name in growing})


def with_room(cluster: ClusterConfig) -> ClusterConfig:
    """Blocks in flight for every slot, and two for every encoder actor: one that is encoded, one that waits."""
    encoders = cluster.gpus or cluster.nodes * cluster.encoders
    room = cluster.nodes * cluster.decode_slots + 2 * encoders
    return cluster.model_copy(update={"blocks_in_flight": max(room, cluster.blocks_in_flight)})


def _size(cluster: ClusterConfig, costs: Costs, load: Load, seed: int) -> Size:
    growing = cut(load.per_node * cluster.nodes, load.videos_per_block)
    there = cluster.model_copy(update={"warm_nodes": max(cluster.nodes, cluster.gpus), "start_s": 0})
    return Size(
        cluster.nodes,
        simulate(there, costs, growing, seed),
        simulate(with_room(there), costs, growing, seed),
        simulate(with_room(cluster), costs, cut(load.fixed, load.videos_per_block), seed),
    )
