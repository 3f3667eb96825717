"""Rows passed between the stages of extraction: one row per video, failures as values."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rayreel.catalog.columns import to_table
from rayreel.catalog.video import CatalogVideo
from rayreel.failures import Reason, Rejected
from rayreel.features.schema import FILE
from rayreel.media.clip import Clip

# What decoding adds to a row. Frames and sound as plain bytes: Arrow passes them to the encoder without a copy or a
# tensor extension type.
DECODED = pa.schema(
    [
        ("frames", pa.large_binary()),
        ("windows", pa.large_binary()),
        ("track", pa.large_binary()),
        ("n_frames", pa.int32()),
        ("n_windows", pa.int32()),
        *FILE,
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)


def todo_rows(videos: Sequence[CatalogVideo], versions: Sequence[str]) -> pa.Table:
    """Return the input of extraction: catalog rows with their `version`."""
    return to_table(videos).append_column("version", pa.array(versions, pa.string()))


def decoded_rows(todo: pa.Table, clips: Sequence[Clip | Rejected | None]) -> pa.Table:
    """Return the rows with their clips and rejections in the columns of DECODED; null for rows without a video."""
    facts = pa.Table.from_pylist([_facts(clip) for clip in clips], schema=DECODED)
    columns = dict(zip(DECODED.names, facts.columns, strict=True))
    good = [clip if isinstance(clip, Clip) else None for clip in clips]
    columns["frames"] = _binary([None if clip is None else clip.frames for clip in good])
    columns["windows"] = _binary([None if clip is None else clip.windows for clip in good])
    columns["track"] = track_cells(good)
    for name, column in columns.items():
        todo = todo.append_column(DECODED.field(name), column)
    return todo


def track_cells(clips: Sequence[Clip | None]) -> pa.LargeBinaryArray:
    """Return the sound of every clip as a column, null without any."""
    return _binary([None if clip is None else clip.track for clip in clips])


def waited(rows: pa.Table, started: float) -> float:
    """Return the seconds that a block had waited for a stage when this started; 0 for an empty one."""
    ready = "transcribed_at" if "transcribed_at" in rows.column_names else "decoded_at"
    return float(started - (pc.max(rows[ready]).as_py() or started))


def timed(rows: pa.Table, **seconds: float) -> pa.Table:
    """Return the rows of a block with its times in seconds, the same in every row."""
    for name, value in seconds.items():
        rows = rows.append_column(name, pa.array([value] * rows.num_rows, pa.float64()))
    return rows


def frames_of(table: pa.Table, size: int) -> NDArray[np.uint8]:
    """Return all frames of a block, video by video: [sum of n_frames, size, size, 3]."""
    return _stack(table["frames"], np.uint8).reshape(-1, size, size, 3)


def windows_of(table: pa.Table, samples: int) -> NDArray[np.float32]:
    """Return all audio windows of a block, video by video: [sum of n_windows, samples]."""
    return _stack(table["windows"], np.float32).reshape(-1, samples)


def quarantine_row(  # noqa: PLR0917 - the columns, in their order
    video_id: str, uri: str, version: str, stage: str, reason: Reason, detail: str
) -> dict[str, Any]:
    """Return a quarantine row for a video that could not be used."""
    return {
        "video_id": video_id,
        "uri": uri,
        "version": version,
        "stage": stage,
        "reason": reason.value,
        "detail": detail,
        "at": datetime.now(UTC),
    }


def _facts(clip: Clip | Rejected | None) -> dict[str, Any]:
    if clip is None:
        return {}
    if isinstance(clip, Rejected):
        return {"reason": clip.reason.value, "detail": clip.detail}
    return {
        "n_frames": len(clip.frames),
        "n_windows": 0 if clip.windows is None else len(clip.windows),
        "content_hash": clip.content_hash,
        **asdict(clip.facts),
    }


def _binary(arrays: Sequence[NDArray[Any] | None]) -> pa.LargeBinaryArray:
    """One cell of bytes per array, copied once into Arrow's memory pool: a new 20 MB buffer would cost page faults."""
    sizes = [0 if array is None else array.nbytes for array in arrays]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    data = pa.allocate_buffer(int(offsets[-1]))
    room = np.frombuffer(data, np.uint8)
    for array, start, size in zip(arrays, offsets, sizes, strict=False):
        if array is not None:
            room[start : start + size] = np.frombuffer(np.ascontiguousarray(array), np.uint8)
    valid = pa.array([array is not None for array in arrays], pa.bool_()).buffers()[1]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(arrays), [valid, pa.py_buffer(offsets), data])


def _stack(column: pa.ChunkedArray, dtype: type) -> NDArray[Any]:
    """The bytes of all cells as one array, without a copy: in a large_binary they are contiguous."""
    cells = column.combine_chunks()
    if len(cells) == 0:
        return np.empty(0, dtype=dtype)
    _, offsets, data = cells.buffers()
    ends = np.frombuffer(offsets, np.int64)[cells.offset : cells.offset + len(cells) + 1]
    return np.frombuffer(data, np.uint8)[ends[0] : ends[-1]].view(dtype)
