"""Train, validation and test splits without leakage between videos of one source."""

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
    """Row numbers of each part; disjoint and together all rows."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def groups_of(matrix: FeatureMatrix, config: SplitConfig) -> pa.StringArray:
    """Return each video's group: its `group_by` value, or its file if it has none, or itself without a file.

    Copies of one file are one group. Groups that share a file are merged and keep one of their names.
    """
    digests = pc.coalesce(matrix.rows["content_hash"], matrix.rows["video_id"]).combine_chunks()
    named = _column(matrix, config.group_by)
    ungrouped = pc.or_kleene(pc.is_null(named), pc.equal(named, ""))
    names = pc.if_else(
        ungrouped,
        pc.binary_join_element_wise("file", digests, " "),
        pc.binary_join_element_wise("group", named, " "),
    )
    return _merged(names, digests)


def split_groups(groups: Names, config: SplitConfig) -> Split:
    """Assign each group to a side by its hash, so that adding videos later moves no video to another side.

    >>> split = split_groups(["a", "a", "b", "b", "c", "c", "d", "d"], SplitConfig(validation=0.25, test=0.25))
    >>> split.train.tolist(), split.validation.tolist(), split.test.tolist()
    ([0, 1, 4, 5], [2, 3], [6, 7])
    """
    code_N, names = coded(groups)
    position = np.array([_hash_position(name.as_py(), config.seed) for name in names])[code_N]
    test = position < config.test
    validation = ~test & (position < config.test + config.validation)
    return Split(*(np.flatnonzero(part) for part in (~test & ~validation, validation, test)))


def split_named(groups: Names, test_N: NDArray[np.bool_], config: SplitConfig) -> Split:
    """Split by group, except that the test part is `test_N`, if any: the videos that the catalog names.

    >>> split = split_named(["a", "a", "b", "c"], np.array([False, False, True, False]), SplitConfig(validation=0))
    >>> split.train.tolist(), split.test.tolist()
    ([0, 1, 3], [2])
    """
    if not test_N.any():
        return split_groups(groups, config)
    free = split_groups(groups, config.model_copy(update={"test": 0.0}))
    return Split(free.train[~test_N[free.train]], free.validation[~test_N[free.validation]], np.flatnonzero(test_N))


def named_test(matrix: FeatureMatrix) -> NDArray[np.bool_]:
    """Return whether the catalog column `split` says test [N], as data sets with an official split have it."""
    # Reading every video's extra columns takes seconds for a million of them, and few catalogs have this one.
    if not pc.any(pc.match_substring(matrix.rows["extra"], '"split"')).as_py():
        return np.zeros(len(matrix), dtype=bool)
    found = pc.fill_null(pc.equal(_column(matrix, "split"), "test"), fill_value=False)
    named: NDArray[np.bool_] = np.asarray(found).astype(bool)
    return named


def coded(names: Names) -> tuple[NDArray[np.int64], pa.StringArray]:
    """Return an integer code for each name [N], and the name of each code. In Arrow: there may be millions."""
    array = names if isinstance(names, pa.Array) else pa.array(names, pa.string())
    encoded = array.dictionary_encode()
    return np.asarray(encoded.indices).astype(np.int64), encoded.dictionary


def _column(matrix: FeatureMatrix, column: str) -> pa.StringArray:
    """Values of a catalog column, standard or extra; null for videos without a value."""
    if column in matrix.rows.column_names:
        return matrix.rows[column].combine_chunks().cast(pa.string())
    code_N, extras = coded(matrix.rows["extra"].combine_chunks())
    found = (json.loads(extra.as_py()).get(column) for extra in extras)
    values = pa.array([None if value is None else str(value) for value in found], pa.string())
    return values.take(pa.array(code_N))


def _merged(names: pa.StringArray, digests: pa.StringArray) -> pa.StringArray:
    """Merge videos connected by a common name or digest under one name, that of a group if there is one."""
    (name_N, kinds), (file_N, files) = coded(names), coded(digests)
    size = len(kinds) + len(files)
    ties = sparse.coo_array((np.ones(len(name_N), np.int8), (name_N, len(kinds) + file_N)), (size, size))
    component = connected_components(ties, directed=False)[1][: len(kinds)]
    # "group …" sorts after "file …", so the last name of a component is a group's if it has one.
    order = np.asarray(pc.sort_indices(kinds)).astype(np.int64)
    last = np.zeros(component.max(initial=-1) + 1, np.int64)
    np.maximum.at(last, component[order], np.arange(len(order)))
    return kinds.take(pa.array(order[last[component]][name_N]))


def _hash_position(group: str, seed: int) -> float:
    digest = hashlib.blake2b(f"{seed} {group}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
