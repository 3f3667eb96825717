"""The data of a video in a release: Parquet columns, and the same data as values and arrays."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rayreel.encoders.encoder import Modality

# `text` is the column for full-text search, so the embedding of the text modality needs another name.
PART_COLUMNS = {Modality.VISUAL: "visual", Modality.AUDIO: "audio", Modality.TEXT: "text_part"}
ROWS = pa.schema(
    [
        ("video_id", pa.string()),
        ("version", pa.string()),
        ("deleted", pa.bool_()),
        ("embedding", pa.list_(pa.float32())),
        *((name, pa.list_(pa.float16())) for name in PART_COLUMNS.values()),
        ("title", pa.string()),
        ("description", pa.string()),
        ("category", pa.string()),
        ("tags", pa.list_(pa.string())),
        ("uri", pa.string()),
        ("text", pa.string()),
        ("extra", pa.string()),
        ("created_at", pa.float64()),
        ("duration_s", pa.float32()),
    ]
)


@dataclass(frozen=True, slots=True)
class VideoRow:
    """Metadata of a video, for results and filters. `created_at` is in seconds since 1970."""

    video_id: str
    version: str
    title: str
    description: str
    category: str
    tags: tuple[str, ...]
    uri: str
    extra: dict[str, Any]
    created_at: float | None
    duration_s: float | None

    def fields(self) -> dict[str, Any]:
        """Return all fields by name, for filters."""
        return {name: getattr(self, name) for name in self.__slots__}


def tombstones(video_ids: Iterable[str]) -> pa.Table:
    """Return rows that mark videos as deleted."""
    return pa.Table.from_pylist([{"video_id": video_id, "deleted": True} for video_id in video_ids], schema=ROWS)


def videos(rows: pa.Table) -> list[VideoRow]:
    """Return the metadata of rows (not tombstones), in their order."""
    columns = {name: rows[name].to_pylist() for name in VideoRow.__slots__}
    columns["tags"] = [tuple(tags or ()) for tags in columns["tags"]]
    columns["extra"] = [json.loads(extra or "{}") for extra in columns["extra"]]
    return [VideoRow(*values) for values in zip(*columns.values(), strict=True)]


def embeddings(rows: pa.Table) -> NDArray[np.float32]:
    """Return the embeddings of rows (not tombstones), [N, D]."""
    if not rows.num_rows:
        return np.empty((0, 0), np.float32)
    values = np.asarray(rows["embedding"].combine_chunks().flatten(), np.float32)
    return values.reshape(rows.num_rows, -1)


def part_embeddings(rows: pa.Table, modality: Modality) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
    """Return embeddings of one modality alone: unit vectors [N, D], zero if it is absent, and the mask [N]."""
    column = rows[PART_COLUMNS[modality]].combine_chunks()
    present_N = np.asarray(column.is_valid(), bool)
    dim = len(rows["embedding"][0]) if rows.num_rows else 0
    out_ND = np.zeros((rows.num_rows, dim), np.float16)
    out_ND[present_N] = np.asarray(column.flatten(), np.float16).reshape(-1, dim or 1)
    return out_ND, present_N
