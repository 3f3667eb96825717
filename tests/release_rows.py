"""Synthetic release rows: unit embeddings, with any part optionally absent."""

import json
from typing import Any

import numpy as np
import pyarrow as pa

from rayreel.encoders.encoder import Modality
from rayreel.release.rows import PART_COLUMNS, ROWS

DIM = 8


def unit(seed: str, dim: int = DIM) -> np.ndarray:
    """Return a random unit vector, reproducible by seed."""
    vector = np.random.default_rng(list(seed.encode())).normal(size=dim).astype(np.float32)
    return vector / np.linalg.norm(vector)


def release_row(video_id: str, version: str = "1", *, sound: bool = True, **columns: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return one row; its embedding depends on id and version."""
    parts: dict[str, np.ndarray | None] = {
        name: unit(f"{name} {video_id}").astype(np.float16) for name in PART_COLUMNS.values()
    }
    if not sound:
        parts[PART_COLUMNS[Modality.AUDIO]] = None
    return (
        {
            "video_id": video_id,
            "version": version,
            "deleted": False,
            "embedding": unit(f"{video_id} {version}"),
            "title": f"film {video_id}",
            "description": "",
            "category": "c",
            "tags": ["t"],
            "uri": f"/films/{video_id}.mp4",
            "text": f"film {video_id}",
            "extra": json.dumps(columns.pop("extra", {})),
            "created_at": None,
            "duration_s": 2.5,
        }
        | parts
        | columns
    )


def release_table(*rows: dict[str, Any]) -> pa.Table:
    """Return the rows as stored in a part."""
    return pa.Table.from_pylist(list(rows), schema=ROWS)
