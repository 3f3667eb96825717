"""What an epoch is judged by: a task on validation videos, in which no test video and no test view has a part."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rayreel.errors import RayreelError
from rayreel.evaluation.exam import Exam, Protocol
from rayreel.evaluation.retrieval import measure
from rayreel.evaluation.task import Task
from rayreel.evaluation.users import UserTask
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


def validation(exam: Exam, select: Select, pairs: PairsConfig) -> Validation:
    """The task that `select` names. Raises NothingToSelectBy when it has no queries.

    Auto: users' next video where pairs come from interactions; otherwise the first of category, tags and users that
    the data have.
    """
    for by in _choices(select, pairs):
        if (task := exam.task(Protocol(by), "validation")) is not None:
            task = _bounded(task, exam)
            return Validation(by, task, _rows(task))
    raise NothingToSelectBy(
        f"No epoch can be chosen by {select}: none of {len(exam.split.validation)} validation videos shares a "
        "category, a tag or a viewer with another. Give the catalog a category or tags column, or training "
        "--interactions, or hold out more for validation: --set splits.validation=0.2"
    )


def _choices(select: Select, pairs: PairsConfig) -> list[Select]:
    if select is not Select.AUTO:
        return [select]
    item = [Select.CATEGORY, Select.TAGS]
    return [Select.USERS, *item] if pairs.co_watched or pairs.co_liked else [*item, Select.USERS]


def _bounded(task: Task, exam: Exam) -> Task:
    """So many users at most that their histories have no more videos than validation looks at."""
    if exam.max_videos is None or not isinstance(task, UserTask):
        return task
    most = max(1, exam.max_videos // exam.config.history)
    if len(task.queries) <= most:
        return task
    return replace(task, queries=np.sort(np.random.default_rng(0).choice(task.queries, most, replace=False)))


def _rows(task: Task) -> NDArray[np.int64]:
    """What the task reads: candidates, and the videos that queries are or are made of."""
    asked = task.queries
    if isinstance(task, UserTask):
        asked = task.user_queries.recent(task.videos, task.last)[task.queries].indices.astype(np.int64)
    return np.unique(np.concatenate([asked, task.candidates]))
