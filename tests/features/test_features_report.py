"""Throughput of a running extraction."""

import pytest

from rayreel.features.report import EXTRACTED, BlockReport, Throughput


def block(
    videos: int = 10, *, waited_s: float = 0.0, encode_s: float = 1.0, failed: int = 0, decoded_at: float = 1e9
) -> BlockReport:
    outcomes = {EXTRACTED: videos - failed, "unreadable": failed}
    return BlockReport(
        outcomes=outcomes, frames=8 * videos, decode_s=1.0, decoded_at=decoded_at, waited_s=waited_s, encode_s=encode_s
    )


def run(*blocks: BlockReport, every_s: float = 2.0) -> Throughput:
    times = iter(100.0 + every_s * n for n in range(len(blocks)))
    throughput = Throughput(clock=lambda: next(times))
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


def test_the_limiting_stage_is_the_one_the_other_waits_for() -> None:
    assert run(*[block(waited_s=5.0, encode_s=1.0)] * 4).limit == "encode"
    assert run(*[block(waited_s=0.1, encode_s=1.0)] * 4).limit == "decode"


def test_failures_are_counted_by_reason() -> None:
    assert run(block(failed=3), block(failed=1)).outcomes == {EXTRACTED: 16, "unreadable": 4}


def test_videos_decoded_before_the_encoders_were_ready_do_not_inflate_the_rate() -> None:
    early, late = block(decoded_at=50.0), block(decoded_at=150.0)
    throughput = run(early, early, early, late, late)
    assert (throughput.encoded, throughput.decoded) == (40, 20)
    assert throughput.videos_per_s == 2.5
