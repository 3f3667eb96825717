import numpy as np
import pyarrow as pa

from rayreel.catalog.columns import CATALOG
from rayreel.catalog.video import CatalogVideo
from rayreel.failures import Reason, Rejected
from rayreel.features.rows import DECODED, decoded_rows, frames_of, quarantine_row, todo_rows, windows_of
from rayreel.features.schema import QUARANTINE
from rayreel.media.clip import Clip, MediaFacts

SIZE, SAMPLES = 4, 10


def clip(frames: int, windows: int | None, seed: int) -> Clip:
    rng = np.random.default_rng(seed)
    sound = None if windows is None else rng.random((windows, SAMPLES), dtype=np.float32)
    pictures = rng.integers(0, 256, (frames, SIZE, SIZE, 3), dtype=np.uint8)
    return Clip(pictures, sound, MediaFacts(1.5, 64, 48, 25.0, windows is not None), f"sha{seed}")


def block(*clips: Clip | Rejected) -> pa.Table:
    videos = [CatalogVideo(video_id=f"v{n}", uri=f"/{n}.mp4") for n in range(len(clips))]
    todo = todo_rows(videos, ["1"] * len(clips))
    table = decoded_rows(todo, clips)
    assert table.schema == pa.schema([*todo.schema, *DECODED])
    table.validate(full=True)
    return table


def test_frames_and_sound_round_trip_through_a_block_in_order() -> None:
    loud, silent, short = clip(3, 2, seed=1), clip(2, None, seed=2), clip(1, 1, seed=3)
    table = block(loud, Rejected(Reason.TIMEOUT, "slow"), silent, short)
    np.testing.assert_array_equal(frames_of(table, SIZE), np.concatenate([loud.frames, silent.frames, short.frames]))
    np.testing.assert_array_equal(windows_of(table, SAMPLES), np.concatenate([loud.windows, short.windows]))
    assert table["n_frames"].to_pylist() == [3, None, 2, 1]
    assert table["n_windows"].to_pylist() == [2, None, 0, 1]


def test_a_slice_of_a_block_has_only_its_own_frames() -> None:
    first, second, third = (clip(n + 1, 1, seed=n) for n in range(3))
    part = block(first, second, third).slice(1, 1)
    np.testing.assert_array_equal(frames_of(part, SIZE), second.frames)
    np.testing.assert_array_equal(windows_of(part, SAMPLES), second.windows)


def test_a_block_of_failures_has_no_frames_and_no_sound() -> None:
    table = block(Rejected(Reason.TIMEOUT, "slow"))
    assert frames_of(table, SIZE).shape == (0, SIZE, SIZE, 3)
    assert windows_of(table, SAMPLES).shape == (0, SAMPLES)


def test_a_failure_keeps_its_video_and_its_reason() -> None:
    (row,) = block(Rejected(Reason.TOO_LONG, "2 h")).to_pylist()
    assert (row["video_id"], row["version"], row["reason"], row["detail"]) == ("v0", "1", "too_long", "2 h")


def test_a_clip_row_has_the_facts_of_its_file_and_no_reason() -> None:
    (row,) = block(clip(1, None, seed=5)).to_pylist()
    assert row["reason"] is None
    assert (row["duration_s"], row["width"], row["height"], row["fps"]) == (1.5, 64, 48, 25.0)
    assert row["has_audio"] is False
    assert row["content_hash"] == "sha5"


def test_a_quarantine_row_matches_the_schema() -> None:
    row = quarantine_row("a", "/a.mp4", "1", "decode", Reason.NO_FRAMES, "none decodes")
    (stored,) = pa.Table.from_pylist([row], schema=QUARANTINE).to_pylist()
    assert stored["reason"] == "no_frames"
    assert set(row) == set(QUARANTINE.names) - (set(CATALOG.names) - {"video_id", "uri"})
