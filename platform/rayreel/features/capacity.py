"""What a Ray cluster has for extraction: encoder actors, what a task reserves, and the blocks between the stages."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ray

from rayreel.features.config import ExtractConfig
from rayreel.placement import free_gpus

# Two actors share a GPU: one prepares its inputs and its rows while the other one computes.
GPUS_PER_ENCODER = 0.5
# Decoders run this many videos per CPU ahead, so that encoders do not wait for a long video.
VIDEOS_PER_CPU, FEWEST_BLOCKS = 96, 8
_ROUNDING = 1e-9  # three tenths of a GPU are 2.9999 times one tenth


@dataclass(frozen=True, slots=True)
class Capacity:
    """Ray's resources of each node that has CPUs, the free GPUs and the cores of all nodes."""

    config: ExtractConfig
    nodes: Sequence[Mapping[str, float]]
    free_gpus: float
    cores: int

    @staticmethod
    def of_cluster(config: ExtractConfig) -> "Capacity":
        """Return that of the running cluster."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        return Capacity(config, nodes, free_gpus(), cores())

    @property
    def gpus_per_encoder(self) -> float:
        """GPUs per encoder actor; 0: actors encode on CPUs."""
        share = self.config.gpus_per_encoder
        return share if share is not None else GPUS_PER_ENCODER * bool(self._total("GPU"))

    @property
    def encoders(self) -> int:
        """Number of encoder actors."""
        if self.config.encoder_actors:
            return self.config.encoder_actors
        if share := self.gpus_per_encoder:
            return max(1, int(self.free_gpus / share + _ROUNDING))
        return max(1, self.cores // 2)

    @property
    def gpus(self) -> int:
        """GPUs that the encoder actors use; 0 on CPUs. An actor without a neighbour uses all of its GPU."""
        return math.ceil(self.gpus_per_encoder * self.encoders - _ROUNDING)

    @property
    def shortage(self) -> str:
        """What an encoder actor has to wait for; empty if it can start."""
        share = self.gpus_per_encoder
        if self.free_gpus + _ROUNDING >= share:
            return ""
        return (
            f"Waiting for {share:g} GPU per encoder actor: {self.free_gpus:g} of the cluster's {self._total('GPU'):g} "
            "are free. End what reserves the others, such as rayreel serve or a training, lower "
            "extract.gpus_per_encoder, or set it to 0 to encode on CPUs."
        )

    def reserved_cpus(self) -> tuple[float, float]:
        """Return the CPUs that a decode task and an encoder actor reserve.

        The actors that may run on a node reserve at most half of it, and on CPUs all may: they restart on the nodes
        that are left when others are lost. Decoders would then wait forever for a CPU, since Ray Data does not shrink a
        pool whose actors hold all of them. Decode tasks reserve what the actors do not, so that no more run at once.
        """
        decode, encode = self.config.cpus_per_decode, self.config.cpus_per_encoder
        cpus, share, actors = self._total("CPU"), self.gpus_per_encoder, self.encoders
        here = ((node["CPU"], int(node.get("GPU", 0) / share + _ROUNDING) if share else actors) for node in self.nodes)
        least = min([encode, *(size / 2 / count for size, count in here if count)])
        if share or cpus <= actors * encode:
            return decode, least
        return min(decode * (cpus - actors * least) / (cpus - actors * encode), max(decode, 1)), least

    def bytes_in_flight(self, block_bytes: int) -> int:
        """Return how many bytes decoding may run ahead of encoding, at most half of the object stores."""
        blocks = sum(map(self._blocks_in_flight, self.nodes)) or FEWEST_BLOCKS
        room = self._total("object_store_memory") / 2
        return int(min(blocks * block_bytes, room or float("inf")))

    def _blocks_in_flight(self, node: Mapping[str, float]) -> int:
        return self.config.blocks_in_flight or max(
            FEWEST_BLOCKS, int(VIDEOS_PER_CPU * node["CPU"]) // self.config.videos_per_block
        )

    def _total(self, resource: str) -> float:
        return sum(node.get(resource, 0.0) for node in self.nodes)


def cores() -> int:
    """Return the cluster's CPU cores; on a single machine the real ones, since Ray's CPUs may be oversubscribed."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    return os.cpu_count() or 1 if len(nodes) == 1 else int(ray.cluster_resources()["CPU"])
