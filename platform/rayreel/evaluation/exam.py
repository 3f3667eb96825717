"""The exam: builds the retrieval tasks for model selection and for the report from a catalog and interactions."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.retrieval import ItemTask
from rayreel.evaluation.splits import Split, coded, groups_of, named_test, split_named
from rayreel.evaluation.task import Task
from rayreel.evaluation.users import Period, UserSplit, UserTask, split_interactions
from rayreel.evaluation.view_retrieval import ViewTask, splittable, two_views
from rayreel.evaluation.views import Views
from rayreel.features.matrix import FeatureMatrix

Part = Literal["validation", "test"]


class Protocol(StrEnum):
    """An evaluation protocol. All but USERS are item-to-item retrieval. See also `Exam.views`."""

    CATEGORY = "category"
    TAGS = "tags"
    CO_WATCH = "co_watch"
    NEIGHBOURS = "neighbours"
    USERS = "users"


@dataclass(frozen=True, slots=True)
class Exam:
    """The data of all tasks, prepared once. `users` is None without interactions.

    `max_videos` limits validation, which runs after every epoch, to a fixed random sample of the videos.
    """

    matrix: FeatureMatrix
    groups: pa.StringArray
    split: Split
    users: UserSplit | None
    config: EvaluationConfig
    max_videos: int | None = None

    @staticmethod
    def of(
        matrix: FeatureMatrix,
        splits: SplitConfig,
        config: EvaluationConfig,
        interactions: pa.Table | None = None,
        max_videos: int | None = None,
    ) -> "Exam":
        """Split videos and interactions. Raises NoInteractions if no interaction is with one of these videos."""
        groups = groups_of(matrix, splits)
        split = split_named(groups, named_test(matrix), splits)
        users = None if interactions is None else split_interactions(interactions, matrix, split, splits)
        return Exam(matrix, groups, split, users, config, max_videos)

    def task(self, protocol: Protocol, part: Part) -> Task | None:
        """Return the task on this part of the split; None if the data have no query for it.

        Validation uses neither test videos nor the test period. The candidates for NEIGHBOURS are the training videos.
        """
        task = self._users(part) if protocol is Protocol.USERS else self._items(protocol, part)
        return task if task is not None and len(task.queries) else None

    def views(self, part: Part) -> tuple[FeatureMatrix, ViewTask] | None:
        """Return the two views of every candidate video and the task on them, whose queries are views of this part.

        None if no video of this part can be divided, or if all are of one source.
        """
        rows = self.divided(part)
        held_out_R, groups_R = np.isin(rows, getattr(self.split, part)), coded(self.groups)[0][rows]
        if not held_out_R.any() or len(np.unique(groups_R)) < 2:
            return None
        return two_views(self.matrix, rows), ViewTask.of(held_out_R, groups_R)

    def divided(self, part: Part) -> NDArray[np.int64]:
        """Return the candidate rows that `views` divides into two."""
        rows = self.candidates(part)
        return rows[splittable(self.matrix)[rows]]

    def candidates(self, part: Part) -> NDArray[np.int64]:
        """Return the candidate rows: all videos for the test, all but the test videos for validation."""
        if part == "test":
            return np.arange(len(self.matrix))
        known = np.setdiff1d(np.arange(len(self.matrix)), self.split.test)
        if self.max_videos is None or len(known) <= self.max_videos:
            return known
        return np.sort(np.random.default_rng(0).choice(known, self.max_videos, replace=False))

    @property
    def _categories(self) -> pa.StringArray:
        return self.matrix.rows["category"].combine_chunks()

    def _items(self, protocol: Protocol, part: Part) -> Task | None:
        candidates = self.candidates(part)
        queries = np.intersect1d(getattr(self.split, part), candidates)
        match protocol:
            case Protocol.TAGS:
                return ItemTask.by_tags(queries, candidates, self.matrix.column("tags"), self.groups)
            case Protocol.CO_WATCH:
                return self._co_watch(queries, candidates, part)
            case Protocol.NEIGHBOURS:
                return ItemTask.of(queries, self.split.train, self._categories, self.groups)
            case _:
                return ItemTask.of(queries, candidates, self._categories, self.groups)

    def _co_watch(self, queries: NDArray[np.int64], candidates: NDArray[np.int64], part: Part) -> Task | None:
        if self.users is None:
            return None
        views, period = self.users.views, Period.VALIDATION if part == "validation" else Period.TEST
        seen = views.only((self.users.periods <= period) & np.isin(views.rows, candidates))
        counts_NN = watched_together(seen, len(self.matrix), self.config.co_watch_window_s)
        together_NN = (counts_NN >= self.config.co_watch_views).astype(np.float32).tocsr()
        return ItemTask.by_co_watch(queries, candidates, together_NN, self.groups)

    def _users(self, part: Part) -> Task | None:
        if self.users is None:
            return None
        user_queries = self.users.validation if part == "validation" else self.users.test
        return UserTask.of(user_queries, self.candidates(part), len(self.matrix), self.config.history)


def watched_together(views: Views, videos: int, window_s: float) -> sparse.csr_array:
    """Return how many times a user watched both videos within `window_s`, [N, N], symmetric with an empty diagonal.

    `views` are sorted by user and time. Round d pairs each view with the one d places later, until no pair of one
    user lies within the window.
    """
    total = sparse.csr_array((videos, videos), dtype=np.float32)
    here, distance = np.arange(len(views.rows)), 1
    while True:
        here = here[here + distance < len(views.rows)]
        there = here + distance
        close = views.users[here] == views.users[there]
        close &= views.seconds[there] - views.seconds[here] <= window_s
        here, there = here[close], there[close]
        if len(here) == 0:
            return (total + total.T).tocsr()
        counts = np.ones(len(here), np.float32)
        total += sparse.csr_array((counts, (views.rows[here], views.rows[there])), total.shape)
        distance += 1
