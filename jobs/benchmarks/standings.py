"""Standings: every method on the same users' next views, over all users and by what training knew of the target."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from rayreel.evaluation.exam import Exam
from rayreel.evaluation.methods import Make
from rayreel.evaluation.metrics import Values, per_query
from rayreel.evaluation.ranking import rank
from rayreel.evaluation.resampling import intervals
from rayreel.evaluation.users import UserTask

AT = 10
METRICS = ("ndcg", "hit_rate")
PARTS = ("all", "warm", "cold")


@dataclass(frozen=True, slots=True)
class Standings:
    """Metrics at 10 of each method by query, and which queries a part has.

    Warm: training knows views of the target; cold: it is a test video. Other targets are validation videos.
    """

    scores: dict[str, dict[str, Values]]
    parts: dict[str, NDArray[np.bool_]]

    def mean(self, method: str, part: str, metric: str = METRICS[0]) -> float:
        """Over the queries of a part."""
        return float(self._values(method, part, metric).mean())

    def interval(self, method: str, part: str, metric: str = METRICS[0], times: int = 1000) -> tuple[float, float]:
        """95 % bootstrap interval of the mean."""
        values_Q = self._values(method, part, metric)
        low, high = intervals(values_Q[:, None], np.arange(len(values_Q)), times)
        return float(low[0]), float(high[0])

    def best(self, methods: Iterable[str], part: str) -> str:
        """Which of these methods is the best on a part."""
        return max(methods, key=lambda method: self.mean(method, part))

    def ratio(self, method: str, other: str, part: str) -> float:
        """How many times as good as another."""
        return self.mean(method, part) / self.mean(other, part)

    def table(self) -> Table:
        """For the terminal."""
        counts = {part: int(chosen.sum()) for part, chosen in self.parts.items()}
        title = f"Users' next video, full ranking, history masked: {counts['all']} users"
        heads = [f"nDCG@{AT} [95 %]", f"HR@{AT}", *(f"nDCG@{AT}, {part} ({counts[part]})" for part in PARTS[1:])]
        table = Table("method", *heads, title=title, title_justify="left")
        for method in self.scores:
            all_, *parts = (self._sure(method, part) for part in PARTS)
            table.add_row(method, all_, f"{self.mean(method, 'all', METRICS[1]):.4f}", *parts)
        return table

    def _values(self, method: str, part: str, metric: str) -> Values:
        return self.scores[method][f"{metric}@{AT}"][self.parts[part]]

    def _sure(self, method: str, part: str) -> str:
        low, high = self.interval(method, part)
        return rf"{self.mean(method, part):.4f} \[{low:.4f}, {high:.4f}]"


def standings(exam: Exam, methods: Mapping[str, Make]) -> Standings:
    """Put every method to the test's users."""
    assert exam.users is not None, "users are asked"
    task = UserTask.of(exam.users.test, exam.candidates("test"), len(exam.matrix), exam.config.history)
    scorers = ((name, make()(task)) for name, make in methods.items())
    scores = {name: per_query(rank(task, scorer, AT), (AT,), METRICS) for name, scorer in scorers if scorer is not None}
    targets_Q = task.user_queries.targets_Q[task.queries]
    warm, cold = exam.users.views_N[targets_Q] > 0, np.isin(targets_Q, exam.split.test)
    return Standings(scores, {"all": np.ones(len(targets_Q), np.bool_), "warm": warm, "cold": cold})
