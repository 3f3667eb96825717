"""The exam: from a catalog and its interactions, the tasks that towers are chosen and reported by."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.cowatch import watched_together
from rayreel.evaluation.retrieval import ItemTask
from rayreel.evaluation.splits import Split, groups_of, split_groups
from rayreel.evaluation.task import Task
from rayreel.evaluation.users import Period, UserSplit, UserTask, split_interactions
from rayreel.features.matrix import FeatureMatrix

Part = Literal["validation", "test"]


class Protocol(StrEnum):
    """What is asked. All but the last ask for videos like a video."""

    CATEGORY = "category"
    TAGS = "tags"
    CO_WATCH = "co_watch"
    NEIGHBOURS = "neighbours"
    USERS = "users"


@dataclass(frozen=True, slots=True)
class Exam:
    """All that tasks are made of, prepared once. `users` is None without interactions.

    With `most`, validation looks at so many videos at most, a fixed random part of them: it is done after every epoch.
    """

    matrix: FeatureMatrix
    groups: pa.StringArray
    split: Split
    users: UserSplit | None
    config: EvaluationConfig
    most: int | None = None

    @staticmethod
    def of(
        matrix: FeatureMatrix,
        splits: SplitConfig,
        config: EvaluationConfig,
        interactions: pa.Table | None = None,
        most: int | None = None,
    ) -> "Exam":
        """Split videos and interactions. Raises NoInteractions when none of them is about these videos."""
        groups = groups_of(matrix, splits)
        split = split_groups(groups, splits)
        users = None if interactions is None else split_interactions(interactions, matrix, split, splits)
        return Exam(matrix, groups, split, users, config, most)

    def task(self, protocol: Protocol, part: Part) -> Task | None:
        """The task on this part of the split; None where the catalog has nothing that it could ask.

        Validation never touches test videos nor the test period. Nearest neighbours are looked for in training.
        """
        task = self._users(part) if protocol is Protocol.USERS else self._items(protocol, part)
        return task if task is not None and len(task.queries) else None

    def candidates(self, part: Part) -> NDArray[np.int64]:
        """What may be answered: everything, and for validation everything but the test videos."""
        if part == "test":
            return np.arange(len(self.matrix))
        known = np.setdiff1d(np.arange(len(self.matrix)), self.split.test)
        if self.most is None or len(known) <= self.most:
            return known
        return np.sort(np.random.default_rng(0).choice(known, self.most, replace=False))

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
        asked = self.users.validation if part == "validation" else self.users.test
        return UserTask.of(asked, self.candidates(part), len(self.matrix), self.config.history)
