"""Throughput of a running extraction."""

import pytest

from rayreel.features.ideal import Ideal
from rayreel.features.report import EXTRACTED, BlockReport, Throughput


def block(
    videos: int = 10,
    *,
    waited_s: float = 0.0,
    failed: int = 0,
    decoded_at: float = 1e9,
    cost_s: tuple[float, float] = (0.0, 0.0),
) -> BlockReport:
    return BlockReport(
        outcomes={EXTRACTED: videos - failed, "unreadable": failed},
        frames=8 * videos,
        decode_s=1.0,
        decoded_at=decoded_at,
        waited_s=waited_s,
        encode_s=1.0,
        decode_cost_s=cost_s[0],
        encode_cost_s=cost_s[1],
    )


def run(*blocks: BlockReport, every_s: float = 2.0, cores: int = 2, gpus: int = 0) -> Throughput:
    times = iter(100.0 + every_s * n for n in range(len(blocks)))
    throughput = Throughput(cores, gpus, clock=lambda: next(times))
    for one in blocks:
        throughput.add(one)
    return throughput


def test_the_first_block_starts_the_clock_and_is_not_part_of_the_rate() -> None:
    throughput = run(block(), block(), block())
    assert throughput.videos == 30
    assert (throughput.videos_per_s, throughput.frames_per_s) == (5.0, 40.0)


def test_the_rate_is_zero_before_the_second_block() -> None:
    assert run().videos_per_s == run(block()).videos_per_s == 0.0


def test_the_queue_length_follows_littles_law() -> None:
    # 10 videos every 2 s, each waiting 6 s: 30 videos wait at any time; waits before the clock started do not count.
    assert run(*[block(waited_s=6.0)] * 101).queue == pytest.approx(30, abs=1)


def ideal(throughput: Throughput) -> Ideal:
    found = Ideal.of(throughput)
    assert found is not None
    return found


def test_on_cpus_the_limit_is_the_costlier_stage_and_efficiency_the_share_of_busy_cores() -> None:
    throughput = run(*[block(cost_s=(1.0, 2.0))] * 11, cores=2)  # 3 core seconds every 2 s, of 4
    assert ideal(throughput).limit == "encode"
    assert ideal(throughput).efficiency(throughput) == pytest.approx(0.75)
    assert ideal(throughput).videos_per_s == pytest.approx(20 / 3)
    assert ideal(run(*[block(cost_s=(2.0, 1.0))] * 3)).limit == "decode"


def test_with_a_gpu_the_limit_is_the_slower_stage_however_long_blocks_wait() -> None:
    throughput = run(*[block(waited_s=50.0, cost_s=(16.0, 0.5))] * 11, cores=16, gpus=1)
    # 10 videos every 2 s; the cores decode 10 in 1 s, the GPU encodes 10 in 0.5 s.
    assert ideal(throughput).limit == "decode"
    assert ideal(throughput).videos_per_s == pytest.approx(10)
    assert ideal(throughput).efficiency(throughput) == pytest.approx(0.5)
    assert ideal(run(*[block(cost_s=(1.0, 0.5))] * 3, cores=16, gpus=1)).limit == "encode"


def spoken(cost_s: float) -> BlockReport:
    times = {"speech_waited_s": 1.0, "transcribe_s": 2.0, "transcribe_cost_s": cost_s, "sound_s": 60.0}
    return block(cost_s=(1.0, 1.0)).model_copy(update=times)


def test_speech_is_a_stage_that_shares_the_cores_or_has_a_gpu() -> None:
    throughput = run(*[spoken(2.0)] * 11, cores=2)  # 4 core seconds every 2 s, of 4
    assert (ideal(throughput).limit, throughput.transcribed, throughput.sound_s) == ("speech", 100, 600)
    assert ideal(throughput).efficiency(throughput) == pytest.approx(1)
    assert ideal(throughput).transcribe_ms == pytest.approx(200)
    throughput.speech_gpus = 1
    assert ideal(throughput).efficiency(throughput) == pytest.approx(1)  # the GPU is busy, and the cores half of it
    assert ideal(run(*[block(cost_s=(1.0, 2.0))] * 3)).transcribe_ms == 0


def test_without_a_cost_there_is_no_limit() -> None:
    assert Ideal.of(run(block(), block())) is None
    assert Ideal.of(run()) is None


def test_work_that_began_before_the_clock_counts_by_the_share_after_it() -> None:
    half = block(decoded_at=100.5, cost_s=(4.0, 1.0))  # decoding takes 1 s, and the clock starts at 100
    throughput = run(block(), half, every_s=4.0)
    assert (throughput.decoded, throughput.encoded) == pytest.approx((5, 10))
    assert ideal(throughput).decode_core_ms == pytest.approx(400)


def test_failures_are_counted_by_reason() -> None:
    assert run(block(failed=3), block(failed=1)).outcomes == {EXTRACTED: 16, "unreadable": 4}


def test_videos_decoded_before_the_encoders_were_ready_do_not_inflate_the_rate() -> None:
    early, late = block(decoded_at=50.0, waited_s=60.0), block(decoded_at=150.0)
    throughput = run(early, early, early, late, late)
    assert (throughput.encoded, throughput.decoded) == (40, 20)
    assert throughput.videos_per_s == 2.5


def test_if_all_is_decoded_before_the_clock_starts_the_rate_is_that_of_encoding() -> None:
    throughput = run(*[block(decoded_at=90.0, waited_s=20.0, cost_s=(1.0, 1.5))] * 5, gpus=1)
    assert (throughput.decoded, throughput.encoded) == (0, 40)
    assert (throughput.videos_per_s, throughput.frames_per_s) == (5.0, 40.0)
    assert ideal(throughput).limit == "encode" and ideal(throughput).decode_core_ms == pytest.approx(100)
    assert ideal(throughput).efficiency(throughput) == pytest.approx(0.75)
