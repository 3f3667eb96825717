"""Rank all candidates of every query in one pass over chunks of queries; nothing of the size queries x candidates."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from rayreel.evaluation.metrics import NOBODY, Ranked
from rayreel.evaluation.scorers import Answer, Rows, Scorer
from rayreel.evaluation.task import Task

_CELLS = 2**24  # scores at a time: 64 MB


def rank(task: Task, scorer: Scorer, k: int, cells: int = _CELLS) -> Ranked:
    """The k best candidates of each query by falling score, none of them barred.

    Ties fall as the task has its candidates, in random order: catalogs are often sorted by category, and in their
    order a method that scores everything alike would look as if it knew something. Memory: a few arrays of `cells`
    numbers, and [Q, k].
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
    # A copy, for it is written to; what is no number is not shown, where topk would take it for the best.
    scores_QC = np.fmax(answer(queries), -np.inf, dtype=np.float32)
    scores_QC[task.barred(queries).nonzero()] = -np.inf
    best = torch.from_numpy(scores_QC).topk(k, dim=1)
    best_QK = best.indices.numpy()
    there_QK = best.values.numpy() > -np.inf
    relevant_QC = task.relevant(queries)
    hits_QK = np.take_along_axis(relevant_QC.toarray(), best_QK, axis=1) & there_QK
    return np.where(there_QK, task.candidates[best_QK], NOBODY), hits_QK, np.diff(relevant_QC.indptr).astype(np.int64)
