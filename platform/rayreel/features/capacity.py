"""What a Ray cluster has for extraction: encoder actors, what a task reserves, and the blocks between the stages."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import ray

from rayreel.features.config import ExtractConfig
from rayreel.placement import free_gpus
from rayreel.speech.config import SpeechConfig

# Two actors share a GPU: one prepares its inputs and its rows while the other one computes.
GPUS_PER_ENCODER = 0.5
GPUS_PER_SPEECH = 0.5
# Decoders run this many videos per CPU ahead, so that encoders do not wait for a long video.
VIDEOS_PER_CPU, FEWEST_BLOCKS = 96, 8
_ROUNDING = 1e-9  # three tenths of a GPU are 2.9999 times one tenth


class ReservedCpus(NamedTuple):
    """The CPUs that a decode task, an encoder actor and an actor that recognises speech reserve."""

    decode: float
    encode: float
    speech: float


@dataclass(frozen=True, slots=True)
class Capacity:
    """Ray's resources of each node that has CPUs, the free GPUs and the cores of all nodes.

    Without `speech` none is recognised.
    """

    config: ExtractConfig
    nodes: Sequence[Mapping[str, float]]
    free_gpus: float
    cores: int
    speech: SpeechConfig | None = None

    @staticmethod
    def of_cluster(config: ExtractConfig, speech: SpeechConfig | None = None) -> "Capacity":
        """Return that of the running cluster."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        return Capacity(config, nodes, free_gpus(), cores(), speech)

    @property
    def gpus_per_encoder(self) -> float:
        """GPUs per encoder actor; 0: actors encode on CPUs."""
        share = self.config.gpus_per_encoder
        return share if share is not None else GPUS_PER_ENCODER * bool(self._total("GPU"))

    @property
    def gpus_per_speech(self) -> float:
        """GPUs per actor that recognises speech; 0: on CPUs, or there is none."""
        if self.speech is None or self.speech.device == "cpu":
            return 0.0
        share = self.config.gpus_per_speech
        return share if share is not None else GPUS_PER_SPEECH * bool(self._total("GPU"))

    @property
    def encoders(self) -> int:
        """Number of encoder actors."""
        default = self._on_gpus() if self.gpus_per_encoder else self.cores // 2
        return self.config.encoder_actors or max(1, default)

    @property
    def speech_actors(self) -> int:
        """Number of actors that recognise speech; 0 without."""
        if self.speech is None:
            return 0
        return self.config.speech_actors or max(1, self._on_gpus() if self.gpus_per_speech else self.cores)

    def _on_gpus(self) -> int:
        """Return how many encoder actors, each with one that recognises speech if both use GPUs, the free ones hold."""
        return int(self.free_gpus / (self.gpus_per_encoder + self.gpus_per_speech) + _ROUNDING)

    @property
    def gpus(self) -> int:
        """GPUs that the encoder actors use; 0 on CPUs. An actor without a neighbour uses all of its GPU."""
        return math.ceil(self.gpus_per_encoder * self.encoders - _ROUNDING)

    @property
    def speech_gpus(self) -> int:
        """GPUs that recognise speech; 0 on CPUs."""
        return math.ceil(self.gpus_per_speech * self.speech_actors - _ROUNDING)

    @property
    def shortage(self) -> str:
        """What an actor of each kind has to wait for; empty if they can start."""
        share, setting = self.gpus_per_encoder + self.gpus_per_speech, "extract.gpus_per_encoder"
        if self.free_gpus + _ROUNDING >= share:
            return ""
        what = "encoder actor"
        if self.gpus_per_speech:
            what, setting = "encoder and speech actor", f"{setting} or extract.gpus_per_speech"
        return (
            f"Waiting for {share:g} GPU per {what}: {self.free_gpus:g} of the cluster's {self._total('GPU'):g} "
            "are free. End what reserves the others, such as rayreel serve or a training, lower "
            f"{setting}, or set it to 0 to use CPUs."
        )

    def reserved_cpus(self) -> ReservedCpus:
        """Return what a decode task and actors reserve.

        The actors that may run on a node reserve at most half of it, and on CPUs all may: they restart on the nodes
        that are left when others are lost. Decoders would then wait forever for a CPU, since Ray Data does not shrink a
        pool whose actors hold all of them. Decode tasks reserve what the actors do not, so that no more run at once.
        """
        decode, cpus = self.config.cpus_per_decode, self._total("CPU")
        wanted = self.encoders * self.config.cpus_per_encoder
        part = min([1.0, *(node["CPU"] / 2 / here for node in self.nodes if (here := self._reserved_on(node)))])
        encode, speech = (
            _ray_cpus(part * each) for each in (self.config.cpus_per_encoder, self.config.cpus_per_speech)
        )
        left = cpus - self.encoders * encode - self.speech_actors * speech
        if not self.gpus_per_encoder and cpus > wanted:
            decode = _ray_cpus(min(decode * left / (cpus - wanted), max(decode, 1)))
        return ReservedCpus(decode, encode, speech)

    def _reserved_on(self, node: Mapping[str, float]) -> float:
        """Return the CPUs that all actors that may run on a node are set to reserve."""

        def count(actors: int, share: float) -> int:
            return int(node.get("GPU", 0) / share + _ROUNDING) if share else actors

        encoders = count(self.encoders, self.gpus_per_encoder)
        speech = count(self.speech_actors, self.gpus_per_speech)
        return encoders * self.config.cpus_per_encoder + speech * self.config.cpus_per_speech

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


def _ray_cpus(cpus: float) -> float:
    """Round down: Ray counts in ten thousandths, and three actors of a rounded third would leave less than the rest."""
    return int(cpus * 10_000 + _ROUNDING) / 10_000


def cores() -> int:
    """Return the cluster's CPU cores; on a single machine the real ones, since Ray's CPUs may be oversubscribed."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    return os.cpu_count() or 1 if len(nodes) == 1 else int(ray.cluster_resources()["CPU"])
