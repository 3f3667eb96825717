"""Splits that let nothing of a test video into training."""

import hashlib
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from rayreel.features.matrix import FeatureMatrix


class SplitConfig(BaseModel):
    """Which share of the videos is held out, and what must stay on one side."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    validation: float = Field(0.1, ge=0, lt=1, description="share of videos for choosing the best epoch")
    test: float = Field(0.2, ge=0, lt=1, description="share of videos for the report, never seen before it")
    group_by: str = Field("source", description="catalog column whose equal values stay on one side, where it exists")
    seed: int = Field(0, description="another seed, another split")


@dataclass(frozen=True, slots=True)
class Split:
    """Row numbers of each part; together all rows, none twice."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def groups_of(matrix: FeatureMatrix, config: SplitConfig) -> list[str]:
    """What each video belongs to: its `group_by` value, or itself alone. Copies of one file belong together."""
    if config.group_by in matrix.rows.column_names:
        named = matrix.column(config.group_by)
    else:
        named = [json.loads(extra).get(config.group_by) for extra in matrix.column("extra")]
    return [
        f"group {name}" if name not in (None, "") else f"file {digest}"
        for name, digest in zip(named, matrix.column("content_hash"), strict=True)
    ]


def split_groups(groups: list[str], config: SplitConfig) -> Split:
    """Each group falls to one side by its own hash: adding videos later moves no video to another side."""
    place = np.array([_place(group, config.seed) for group in groups])
    test = place < config.test
    validation = ~test & (place < config.test + config.validation)
    return Split(*(np.flatnonzero(part) for part in (~test & ~validation, validation, test)))


def _place(group: str, seed: int) -> float:
    digest = hashlib.blake2b(f"{seed} {group}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
