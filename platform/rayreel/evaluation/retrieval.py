"""Item-to-item retrieval: given a held-out video, are videos of its category found?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rayreel.evaluation.baselines import Scorer
from rayreel.evaluation.metrics import METRICS, Ranked, rank

_QUERIES_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class Task:
    """Queries, candidates and what counts as found.

    A candidate is relevant when it has the query's category. The query and everything of its group (other cuts of
    the same source) are no candidates: finding those shows nothing.
    """

    queries: NDArray[np.int64]
    candidates: NDArray[np.int64]
    categories: NDArray[np.str_]
    groups: NDArray[np.str_]

    @staticmethod
    def of(
        queries: NDArray[np.int64], candidates: NDArray[np.int64], categories: Sequence[str], groups: Sequence[str]
    ) -> "Task":
        """Leave out queries with no category, or with no relevant candidate: no ranking could be right for them."""
        names, owners = np.array(categories, dtype=np.str_), np.array(groups, dtype=np.str_)
        task = Task(queries, candidates, names, owners)
        answerable = (task.relevant(queries) & task.allowed(queries)).any(axis=1) & (names[queries] != "")
        return Task(queries[answerable], candidates, names, owners)

    def relevant(self, queries: NDArray[np.int64]) -> NDArray[np.bool_]:
        """[Q, C]: same category."""
        same: NDArray[np.bool_] = self.categories[queries][:, None] == self.categories[self.candidates][None]
        return same

    def allowed(self, queries: NDArray[np.int64]) -> NDArray[np.bool_]:
        """[Q, C]: another group."""
        other: NDArray[np.bool_] = self.groups[queries][:, None] != self.groups[self.candidates][None]
        return other


def measure(task: Task, scorer: Scorer, ks: Sequence[int] = (5, 10)) -> dict[str, float]:
    """Mean of every metric over the queries, such as {"recall@10": …}; empty when there are no queries."""
    if len(task.queries) == 0:
        return {}
    parts = [
        _ranked(task, scorer, task.queries[start : start + _QUERIES_AT_ONCE], max(ks))
        for start in range(0, len(task.queries), _QUERIES_AT_ONCE)
    ]
    ranked = Ranked(np.concatenate([p.hits_QK for p in parts]), np.concatenate([p.relevant_Q for p in parts]))
    return {f"{name}@{k}": float(metric(ranked, k).mean()) for name, metric in METRICS.items() for k in ks}


def _ranked(task: Task, scorer: Scorer, queries: NDArray[np.int64], k: int) -> Ranked:
    return rank(scorer(queries)[:, task.candidates], task.relevant(queries), task.allowed(queries), k)
