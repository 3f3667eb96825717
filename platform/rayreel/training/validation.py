"""Validation: the task by which the best epoch is selected, without any test video or test view."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rayreel.errors import RayreelError
from rayreel.evaluation.exam import Exam, Protocol
from rayreel.evaluation.retrieval import measure
from rayreel.evaluation.task import Task
from rayreel.evaluation.users import UserTask
from rayreel.features.matrix import FeatureMatrix
from rayreel.training.config import Select
from rayreel.training.pairs.config import PairsConfig

SCORE = "validation/recall@10"
"""The metric that selects the best epoch."""

VIEW_SCORE = "validation/views/mrr@10"
"""The metric that selects the best epoch by view retrieval: of few candidates, the first ten are nearly all."""

_KS = (5, 10)


class NothingToSelectBy(RayreelError):
    """The validation task has no query."""


@dataclass(frozen=True, slots=True)
class Validation:
    """A validation task, its kind, and the rows of `matrix` whose embeddings it needs."""

    by: Select
    task: Task
    rows: NDArray[np.int64]
    matrix: FeatureMatrix

    @property
    def score(self) -> str:
        """Name of the metric that selects the best epoch."""
        return VIEW_SCORE if self.by is Select.VIEWS else SCORE

    def measure(self, embedding_ND: NDArray[np.float32]) -> dict[str, float]:
        """Return metrics such as {"validation/recall@10": 0.5}. Only `rows` of embedding_ND [N, dim] are read."""
        scores = measure(self.task, self.task.by(embedding_ND), _KS)
        return {f"{self.score.rpartition('/')[0]}/{name}": score for name, score in scores.items()}


def validation(exam: Exam, select: Select, pairs: PairsConfig) -> Validation:
    """Return the selected task. Raises NothingToSelectBy if it has no queries.

    Auto: users' next video if pairs come from interactions; otherwise the first of category, tags, users and views for
    which the data have queries.
    """
    for by in _choices(select, pairs):
        if by is Select.VIEWS:
            if (found := exam.views("validation")) is not None:
                return Validation(by, found[1], np.arange(len(found[0])), found[0])
        elif (task := exam.task(Protocol(by), "validation")) is not None:
            task = _bounded(task, exam)
            return Validation(by, task, _rows(task), exam.matrix)
    raise NothingToSelectBy(
        f"train.select={select} cannot select the best epoch: none of {len(exam.split.validation)} validation videos "
        "shares a category, a tag or a viewer with another video, or has two frames to divide into two views. Add a "
        "category or tags column to the catalog, pass --interactions, or hold out more videos for validation with "
        "--set splits.validation=0.2."
    )


def _choices(select: Select, pairs: PairsConfig) -> list[Select]:
    if select is not Select.AUTO:
        return [select]
    item = [Select.CATEGORY, Select.TAGS]
    labels = [Select.USERS, *item] if pairs.of_users else [*item, Select.USERS]
    return [*labels, Select.VIEWS]


def _bounded(task: Task, exam: Exam) -> Task:
    """Limit the number of users, so that their histories have at most as many videos as validation."""
    if exam.max_videos is None or not isinstance(task, UserTask):
        return task
    most = max(1, exam.max_videos // exam.config.history)
    if len(task.queries) <= most:
        return task
    return replace(task, queries=np.sort(np.random.default_rng(0).choice(task.queries, most, replace=False)))


def _rows(task: Task) -> NDArray[np.int64]:
    """Rows that the task reads: candidates, and the query videos or the users' histories."""
    query_rows = task.queries
    if isinstance(task, UserTask):
        query_rows = task.user_queries.recent(task.videos, task.last)[task.queries].indices.astype(np.int64)
    return np.unique(np.concatenate([query_rows, task.candidates]))
