"""Rank all candidates of every query, in chunks of queries: no array of size queries x candidates."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from rayreel.evaluation.metrics import NO_ITEM, Ranked
from rayreel.evaluation.scorers import Answer, Rows, Scorer
from rayreel.evaluation.task import Task

_CELLS = 2**24  # scores at a time: 64 MB


def rank(task: Task, scorer: Scorer, k: int, cells: int = _CELLS) -> Ranked:
    """Return the top k candidates of each query by descending score, without excluded ones.

    Ties keep the task's candidate order, which is random: catalogs are often sorted by category, and in catalog order
    a method with constant scores would appear better than chance. Memory: a few arrays of `cells` numbers, and [Q, k].
    """
    k = min(k, len(task.candidates))
    answer = scorer(task.candidates)
    parts = [_rank(task, answer, queries, k) for queries in _chunks(task, cells)]
    if not parts:
        return Ranked(np.empty((0, k), np.int64), np.empty((0, k), np.bool_), np.empty(0, np.int64))
    return Ranked(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _chunks(task: Task, cells: int) -> Iterator[Rows]:
    size = max(1, cells // max(1, len(task.candidates)))
    return (task.queries[start : start + size] for start in range(0, len(task.queries), size))


def _rank(
    task: Task, answer: Answer, queries: Rows, k: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
    # Copy, because scores are overwritten. NaN becomes -inf: topk would rank it first.
    scores_QC = np.fmax(answer(queries), -np.inf, dtype=np.float32)
    scores_QC[task.excluded(queries).nonzero()] = -np.inf
    best = torch.from_numpy(scores_QC).topk(k, dim=1)
    best_QK = best.indices.numpy()
    valid_QK = best.values.numpy() > -np.inf
    relevant_QC = task.relevant(queries)
    hits_QK = np.take_along_axis(relevant_QC.toarray(), best_QK, axis=1) & valid_QK
    return np.where(valid_QK, task.candidates[best_QK], NO_ITEM), hits_QK, np.diff(relevant_QC.indptr).astype(np.int64)
