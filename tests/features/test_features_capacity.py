"""Actors, reserved CPUs and blocks for clusters of several shapes."""

import pytest

from rayreel.features.capacity import Capacity
from rayreel.features.config import ExtractConfig
from rayreel.speech.config import SpeechConfig

GB = 1e9


def capacity(
    *nodes: dict[str, float], free_gpus: float = 0.0, speech: SpeechConfig | None = None, **settings: float
) -> Capacity:
    return Capacity(ExtractConfig(**settings), nodes, free_gpus, int(sum(node["CPU"] for node in nodes)), speech)


def cpus(count: float, gpus: float = 0.0) -> dict[str, float]:
    return {"CPU": count, "GPU": gpus, "object_store_memory": 4 * GB}


@pytest.mark.parametrize("nodes", [1, 2, 3, 10])
@pytest.mark.parametrize("size", [2, 8])
@pytest.mark.parametrize("speech", [None, SpeechConfig()])
def test_the_smallest_node_alone_holds_all_actors_and_a_decoder(
    nodes: int, size: int, speech: SpeechConfig | None
) -> None:
    cluster, config = capacity(*[cpus(size)] * nodes, speech=speech), ExtractConfig()
    decode, encode, transcribe = cluster.reserved_cpus()
    reserved = cluster.encoders * encode + cluster.speech_actors * transcribe
    assert reserved + decode <= size
    # As many decode tasks run at once as if each encoder had a CPU, and what actors leave holds them in Ray's units.
    at_once = (nodes * size - reserved) / decode
    assert at_once <= (nodes * size - cluster.encoders) / config.cpus_per_decode + 0.01
    assert all(round(cpus * 10_000) == pytest.approx(cpus * 10_000) for cpus in (decode, encode, transcribe))


def test_on_one_machine_an_actor_reserves_what_is_set() -> None:
    assert capacity(cpus(2)).reserved_cpus()[:2] == (0.5, 1)
    assert capacity(cpus(16)).reserved_cpus()[:2] == (0.5, 1)
    assert capacity(cpus(2), encoder_actors=4).reserved_cpus()[1] == 0.25


def test_gpus_that_others_hold_are_not_counted() -> None:
    beside_encode = capacity(cpus(16, gpus=1), free_gpus=0.75)
    assert (beside_encode.gpus_per_encoder, beside_encode.encoders, beside_encode.shortage) == (0.5, 1, "")
    assert capacity(cpus(16, gpus=2), free_gpus=2).encoders == 4
    assert capacity(cpus(16, gpus=1), free_gpus=0.3, gpus_per_encoder=0.1).encoders == 3


def test_what_an_actor_waits_for_is_said_with_a_remedy() -> None:
    waiting = capacity(cpus(16, gpus=1), free_gpus=0.75, gpus_per_encoder=1)
    assert waiting.encoders == 1
    assert waiting.shortage.startswith("Waiting for 1 GPU per encoder actor: 0.75 of the cluster's 1 are free.")
    assert "extract.gpus_per_encoder" in waiting.shortage


def test_no_gpu_is_used_unless_there_is_one_or_with_none_per_actor() -> None:
    assert capacity(cpus(4)).gpus == capacity(cpus(4, gpus=1), free_gpus=1, gpus_per_encoder=0).gpus == 0
    assert capacity(cpus(4, gpus=1), free_gpus=1, gpus_per_encoder=0).encoders == 2
    assert capacity(cpus(4)).shortage == ""


def test_actors_of_a_small_gpu_machine_leave_half_of_it_to_decoders() -> None:
    decode, encode, _ = capacity(cpus(2, gpus=1), free_gpus=1).reserved_cpus()
    assert (decode, encode) == (0.5, 0.5)


def test_decoders_run_ahead_by_blocks_per_core_and_at_most_half_of_the_object_store() -> None:
    block = 40_000_000
    assert capacity(cpus(2)).bytes_in_flight(block) == 8 * block
    assert capacity(cpus(16)).bytes_in_flight(block) == 48 * block
    assert capacity(cpus(16), blocks_in_flight=4).bytes_in_flight(block) == 4 * block
    assert capacity(cpus(64)).bytes_in_flight(block) == 2 * GB
    assert capacity().bytes_in_flight(block) == 8 * block  # groups of nodes that start at zero


def test_speech_and_encoders_share_the_gpus() -> None:
    both = capacity(cpus(16, gpus=2), free_gpus=2, speech=SpeechConfig())
    assert (both.encoders, both.speech_actors, both.gpus, both.speech_gpus) == (2, 2, 1, 1)
    on_cpu = capacity(cpus(16, gpus=2), free_gpus=2, speech=SpeechConfig(device="cpu"))
    assert (on_cpu.encoders, on_cpu.speech_actors, on_cpu.speech_gpus) == (4, 16, 0)
    alone = capacity(cpus(16, gpus=1), free_gpus=1, speech=SpeechConfig(), gpus_per_encoder=0)
    assert (alone.speech_actors, alone.speech_gpus) == (2, 1)
    assert capacity(cpus(4)).speech_actors == 0


def test_a_gpu_that_cannot_hold_both_is_said_with_the_settings_of_both() -> None:
    waiting = capacity(cpus(16, gpus=1), free_gpus=1, speech=SpeechConfig(), gpus_per_encoder=1)
    assert "1.5 GPU per encoder and speech actor" in waiting.shortage
    assert "extract.gpus_per_speech" in waiting.shortage
    assert capacity(cpus(4, gpus=1), free_gpus=1, speech=SpeechConfig()).shortage == ""
