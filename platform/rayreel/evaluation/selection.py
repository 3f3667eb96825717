"""Choose the settings of a baseline without a test video, as the best epoch of a training is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rayreel.evaluation.exam import Exam
from rayreel.evaluation.retrieval import ItemTask, measure
from rayreel.evaluation.task import Method

T = TypeVar("T")
_MOST_VIDEOS, _MOST_QUERIES = 2_000, 500


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows of videos outside the test [S], and a task whose row numbers are places in it; None without labels.

    A baseline that learns nothing from labels is chosen with training videos as queries, too.
    """

    rows_S: NDArray[np.int64]
    task: ItemTask | None
    metric: str
    at: int

    @staticmethod
    def of(exam: Exam) -> "Selection":
        """Take categories, otherwise tags, of a fixed random sample if there are many videos."""
        rng = np.random.default_rng(exam.config.seed)
        rows_S = np.setdiff1d(np.arange(len(exam.matrix)), exam.split.test)
        if len(rows_S) > _MOST_VIDEOS:
            rows_S = np.sort(rng.choice(rows_S, _MOST_VIDEOS, replace=False))
        found = (task for task in _tasks(exam, rows_S) if len(task.queries))
        task = next(found, None)
        if task is not None and len(task.queries) > _MOST_QUERIES:
            task = replace(task, queries=np.sort(rng.choice(task.queries, _MOST_QUERIES, replace=False)))
        return Selection(rows_S, task, exam.config.headline, exam.config.at)

    def best(self, options: Sequence[T], method: Callable[[T], Method]) -> T:
        """Return the option whose method has the highest headline metric; the first of equals, or without a task."""
        if self.task is None or len(options) == 1:
            return options[0]
        scores = [self._score(self.task, method(option)) for option in options]
        return options[int(np.argmax(scores))]

    def _score(self, task: ItemTask, method: Method) -> float:
        scorer = method(task)
        return -1.0 if scorer is None else measure(task, scorer, (self.at,))[self.metric]


def _tasks(exam: Exam, rows_S: NDArray[np.int64]) -> list[ItemTask]:
    places, groups = np.arange(len(rows_S)), exam.groups.take(rows_S)
    category, tags = (exam.matrix.rows[name].take(rows_S) for name in ("category", "tags"))
    return [
        ItemTask.of(places, places, category.combine_chunks(), groups),
        ItemTask.by_tags(places, places, [found or () for found in tags.to_pylist()], groups),
    ]
