"""What an epoch is judged by: a task on validation videos, in which no test video and no test view has a part."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rayreel.errors import RayreelError
from rayreel.evaluation.config import EvaluationConfig
from rayreel.evaluation.cowatch import watched_together
from rayreel.evaluation.retrieval import ItemTask, measure
from rayreel.evaluation.splits import Split, SplitConfig
from rayreel.evaluation.task import Task
from rayreel.evaluation.users import Period, UserSplit, UserTask, split_interactions
from rayreel.features.matrix import FeatureMatrix
from rayreel.training.config import Select
from rayreel.training.pairs.config import PairsConfig

SCORE = "validation/recall@10"
"""The metric that chooses the best epoch."""

_KS = (5, 10)


class NothingToSelectBy(RayreelError):
    """No validation video, or no user, can be asked about."""


@dataclass(frozen=True, slots=True)
class Validation:
    """A task, what it asks about, and the rows whose embeddings it needs."""

    by: Select
    task: Task
    rows: NDArray[np.int64]

    def measure(self, embedding_ND: NDArray[np.float32]) -> dict[str, float]:
        """Metrics of embeddings of all rows, of which only `rows` are read: {"validation/recall@10": …}."""
        scores = measure(self.task, self.task.by(embedding_ND), _KS)
        return {f"validation/{name}": score for name, score in scores.items()}


@dataclass(frozen=True, slots=True)
class Seen:
    """What validation may see: training and validation videos, or a fixed random part of them if they are many."""

    matrix: FeatureMatrix
    groups: list[str]
    queries: NDArray[np.int64]
    candidates: NDArray[np.int64]
    users: UserSplit | None
    most: int


def user_split(
    interactions: pa.Table | None, matrix: FeatureMatrix, split: Split, splits: SplitConfig
) -> UserSplit | None:
    """The interactions cut by time; None without any."""
    return None if interactions is None else split_interactions(interactions, matrix, split, splits)


def seen_by_validation(
    matrix: FeatureMatrix, split: Split, groups: list[str], users: UserSplit | None, *, most: int
) -> Seen:
    """Validation videos as queries, training videos too as candidates, `most` of both together."""
    candidates = np.sort(np.concatenate([split.train, split.validation]))
    if len(candidates) > most:
        candidates = np.sort(np.random.default_rng(0).choice(candidates, most, replace=False))
    queries = split.validation[np.isin(split.validation, candidates)]
    return Seen(matrix, groups, queries, candidates, users, most)


def validation(seen: Seen, select: Select, pairs: PairsConfig, evaluation: EvaluationConfig) -> Validation:
    """The task that `select` names. Raises NothingToSelectBy when it has no queries.

    Auto: users' next video where pairs come from interactions; otherwise the first of category, tags and users that
    the data have.
    """
    for by in _choices(select, pairs):
        task = _TASKS[by](seen, evaluation)
        if task is not None and len(task.queries):
            return Validation(by, task, _rows(task))
    raise NothingToSelectBy(
        f"No epoch can be chosen by {select}: none of {len(seen.queries)} validation videos shares a category, a tag "
        "or a viewer with another. Give the catalog a category or tags column, or training --interactions, or hold "
        "out more for validation: --set splits.validation=0.2"
    )


def _choices(select: Select, pairs: PairsConfig) -> list[Select]:
    if select is not Select.AUTO:
        return [select]
    item = [Select.CATEGORY, Select.TAGS]
    return [Select.USERS, *item] if pairs.co_watched or pairs.co_liked else [*item, Select.USERS]


def _by_category(seen: Seen, _: EvaluationConfig) -> Task:
    return ItemTask.of(seen.queries, seen.candidates, seen.matrix.column("category"), seen.groups)


def _by_tags(seen: Seen, _: EvaluationConfig) -> Task:
    return ItemTask.by_tags(seen.queries, seen.candidates, seen.matrix.column("tags"), seen.groups)


def _by_co_watch(seen: Seen, evaluation: EvaluationConfig) -> Task | None:
    if seen.users is None:
        return None
    known = seen.users.views.only(seen.users.periods <= Period.VALIDATION)
    together = watched_together(known, len(seen.matrix), evaluation.co_watch_window_s)
    return ItemTask.by_co_watch(seen.queries, seen.candidates, together, seen.groups)


def _by_users(seen: Seen, evaluation: EvaluationConfig) -> Task | None:
    if seen.users is None:
        return None
    history = evaluation.history
    task = UserTask.of(seen.users.validation, seen.candidates, len(seen.matrix), history)
    most = max(1, seen.most // history)  # of a user, so many videos are embedded
    if len(task.queries) <= most:
        return task
    return replace(task, queries=np.sort(np.random.default_rng(0).choice(task.queries, most, replace=False)))


_TASKS: dict[Select, Callable[[Seen, EvaluationConfig], Task | None]] = {
    Select.CATEGORY: _by_category,
    Select.TAGS: _by_tags,
    Select.CO_WATCH: _by_co_watch,
    Select.USERS: _by_users,
}


def _rows(task: Task) -> NDArray[np.int64]:
    """What the task reads: candidates, and the videos that queries are or are made of."""
    asked = task.queries
    if isinstance(task, UserTask):
        asked = task.asked.recent(task.videos, task.last)[task.queries].indices.astype(np.int64)
    return np.unique(np.concatenate([asked, task.candidates]))
