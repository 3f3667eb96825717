"""Splits that let nothing of a test video into training."""

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from rayreel.features.matrix import FeatureMatrix


class SplitConfig(BaseModel):
    """Which share of the videos is held out, and what must stay on one side."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    validation: float = Field(0.1, ge=0, lt=1, description="share of videos for choosing the best epoch")
    test: float = Field(0.2, ge=0, lt=1, description="share of videos for the report, never seen before it")
    group_by: str = Field("source", description="catalog column whose equal values stay on one side, where it exists")
    seed: int = Field(0, description="another seed, another split")
    user_cut: Literal["global", "per_user"] = Field(
        "global",
        description="global: the same moments end training and validation for everybody, nobody's future is trained "
        "on; per_user: each user's last view is for the test, the one before for validation",
    )
    validation_period: float = Field(0.1, gt=0, lt=0.5, description="share of views, the latest before the test's")
    test_period: float = Field(0.1, gt=0, lt=0.5, description="share of views, the latest of all")


@dataclass(frozen=True, slots=True)
class Split:
    """Row numbers of each part; together all rows, none twice."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def groups_of(matrix: FeatureMatrix, config: SplitConfig) -> list[str]:
    """What each video belongs to: its `group_by` value, or itself alone. Copies of one file belong together.

    Where copies of one file stand in two groups, these are one group, which keeps one of the two names.
    """
    if config.group_by in matrix.rows.column_names:
        named = matrix.column(config.group_by)
    else:
        named = [json.loads(extra).get(config.group_by) for extra in matrix.column("extra")]
    digests = matrix.column("content_hash")
    own = [
        f"group {name}" if name not in (None, "") else f"file {digest}"
        for name, digest in zip(named, digests, strict=True)
    ]
    return _joined(own, digests)


def split_groups(groups: list[str], config: SplitConfig) -> Split:
    """Each group falls to one side by its own hash: adding videos later moves no video to another side."""
    place = np.array([_place(group, config.seed) for group in groups])
    test = place < config.test
    validation = ~test & (place < config.test + config.validation)
    return Split(*(np.flatnonzero(part) for part in (~test & ~validation, validation, test)))


def _joined(names: list[str], digests: list[str]) -> list[str]:
    """One name for all that are tied together by a common name or a common digest: a group's, where there is any."""
    kinds, name_N = np.unique(np.array(names, dtype=np.str_), return_inverse=True)
    files, file_N = np.unique(np.array(digests, dtype=np.str_), return_inverse=True)
    size = len(kinds) + len(files)
    ties = sparse.coo_array((np.ones(len(names)), (name_N, len(kinds) + file_N)), (size, size))
    component = connected_components(ties, directed=False)[1][: len(kinds)]
    # np.unique has sorted the names: "group …" stand behind "file …", so that the last of a component is the one.
    place = np.zeros(component.max(initial=-1) + 1, np.int64)
    np.maximum.at(place, component, np.arange(len(kinds)))
    return [str(name) for name in kinds[place[component][name_N]]]


def _place(group: str, seed: int) -> float:
    digest = hashlib.blake2b(f"{seed} {group}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
