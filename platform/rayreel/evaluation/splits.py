"""Splits that let nothing of a test video into training."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from rayreel.evaluation.config import SplitConfig
from rayreel.features.matrix import FeatureMatrix

Names: TypeAlias = Sequence[str] | pa.StringArray


@dataclass(frozen=True, slots=True)
class Split:
    """Row numbers of each part; together all rows, none twice."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def groups_of(matrix: FeatureMatrix, config: SplitConfig) -> pa.StringArray:
    """What each video belongs to: its `group_by` value, or itself alone. Copies of one file belong together.

    Where copies of one file stand in two groups, these are one group, which keeps one of the two names.
    """
    digests = matrix.rows["content_hash"].combine_chunks()
    named = _named(matrix, config.group_by)
    alone = pc.or_kleene(pc.is_null(named), pc.equal(named, ""))
    own = pc.if_else(
        alone,
        pc.binary_join_element_wise("file", digests, " "),
        pc.binary_join_element_wise("group", named, " "),
    )
    return _joined(own, digests)


def split_groups(groups: Names, config: SplitConfig) -> Split:
    """Each group falls to one side by its own hash: adding videos later moves no video to another side."""
    code_N, names = coded(groups)
    place = np.array([_place(name.as_py(), config.seed) for name in names])[code_N]
    test = place < config.test
    validation = ~test & (place < config.test + config.validation)
    return Split(*(np.flatnonzero(part) for part in (~test & ~validation, validation, test)))


def coded(names: Names) -> tuple[NDArray[np.int64], pa.StringArray]:
    """A number for each name [N], and what it stands for. No Python strings: there may be millions."""
    given = names if isinstance(names, pa.Array) else pa.array(names, pa.string())
    encoded = given.dictionary_encode()
    return np.asarray(encoded.indices).astype(np.int64), encoded.dictionary


def _named(matrix: FeatureMatrix, column: str) -> pa.StringArray:
    """Values of a catalog column, its own or one of the free ones; null where a video has none."""
    if column in matrix.rows.column_names:
        return matrix.rows[column].combine_chunks().cast(pa.string())
    code_N, extras = coded(matrix.rows["extra"].combine_chunks())
    found = (json.loads(extra.as_py()).get(column) for extra in extras)
    values = pa.array([None if value is None else str(value) for value in found], pa.string())
    return values.take(pa.array(code_N))


def _joined(names: pa.StringArray, digests: pa.StringArray) -> pa.StringArray:
    """One name for all that are tied together by a common name or a common digest: a group's, where there is any."""
    (name_N, kinds), (file_N, files) = coded(names), coded(digests)
    size = len(kinds) + len(files)
    ties = sparse.coo_array((np.ones(len(name_N), np.int8), (name_N, len(kinds) + file_N)), (size, size))
    component = connected_components(ties, directed=False)[1][: len(kinds)]
    # By name "group …" stand behind "file …", so that the last of a component is the one.
    order = np.asarray(pc.sort_indices(kinds)).astype(np.int64)
    last = np.zeros(component.max(initial=-1) + 1, np.int64)
    np.maximum.at(last, component[order], np.arange(len(order)))
    return kinds.take(pa.array(order[last[component]][name_N]))


def _place(group: str, seed: int) -> float:
    digest = hashlib.blake2b(f"{seed} {group}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
