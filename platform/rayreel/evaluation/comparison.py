"""Compare methods on one task, each with the tower on the same queries."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from rayreel.evaluation.config import EvaluationConfig
from rayreel.evaluation.examples import Examples
from rayreel.evaluation.listing import coverage, diversity, percentiles, popularity
from rayreel.evaluation.metrics import Ranked, Values, per_query
from rayreel.evaluation.ranking import rank
from rayreel.evaluation.resampling import holm, intervals, p_values
from rayreel.evaluation.scorers import Scorer
from rayreel.evaluation.task import Task


@dataclass(frozen=True, slots=True)
class Score:
    """A mean over queries and its 95 % interval; no interval for metrics of all lists together, such as coverage."""

    mean: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Versus:
    """The tower's mean minus a method's on the same queries, its 95 % interval, and p (Holm-adjusted over a table).

    `p_alone` is the unadjusted p, for a comparison with this method only.
    """

    difference: float
    low: float
    high: float
    p: float
    p_alone: float = 1.0


@dataclass(slots=True)
class Section:
    """One section of the report: scores of each method by metric, and the tower's lead over each method.

    `few_lines`: the methods that have a table of their own, and p-values adjusted for their own number. `examples`: of
    the tower, where queries are videos.
    """

    name: str
    about: str
    queries: int
    candidates: int
    headline: str
    only_hits: bool = False
    scores: dict[str, dict[str, Score]] = field(default_factory=dict)
    versus: dict[str, dict[str, Versus]] = field(default_factory=dict)
    by_category: dict[str, dict[str, float]] = field(default_factory=dict)
    few_lines: list[str] = field(default_factory=list)
    examples: Examples | None = None

    @property
    def table_metrics(self) -> list[str]:
        """The metrics of the table, the headline first: all at the headline's k, or R@k at every k."""
        names = [name for name in next(iter(self.scores.values())) if name != self.headline]
        at = self.headline.partition("@")[2]
        return [self.headline, *(name for name in names if self.only_hits or name.endswith(f"@{at}"))]


@dataclass(frozen=True, slots=True)
class ListInputs:
    """Inputs of the list metrics: vectors of unit length for diversity, view counts for popularity."""

    unit_ND: NDArray[np.float32]
    views_N: NDArray[np.int64] | None


@dataclass(slots=True)
class MethodComparison:
    """Scores of all methods on one task, whose sections cover subsets of the queries. Add the tower first.

    categories_Q: each query's category, for the heat map. With `only_hits`, R@k is the only metric.
    """

    task: Task
    sections: dict[str, Section]
    queries_of: dict[str, NDArray[np.bool_]]
    categories_Q: NDArray[np.str_]
    lists: ListInputs
    config: EvaluationConfig
    only_hits: bool = False
    tower: dict[str, Values] = field(default_factory=dict)
    ranked: Ranked | None = None

    def add(self, method: str, scorer: Scorer) -> None:
        """Score a method in all sections. Keeps summaries, and rankings and values of the tower, which comes first."""
        ranked = rank(self.task, scorer, max(self._ks))
        values = self._values(ranked)
        self.tower, self.ranked = self.tower or values, self.ranked or ranked
        for name, section in self.sections.items():
            chosen_Q = self.queries_of[name]
            section.scores[method], versus = self._compared(values, chosen_Q)
            if self.tower is not values:
                section.versus[method] = versus
            section.by_category[method] = _means_by(self.categories_Q[chosen_Q], values[section.headline][chosen_Q])
            if not self.only_hits:
                chosen = ranked.only(chosen_Q)
                section.scores[method] |= {
                    f"coverage@{k}": Score(coverage(chosen, k, section.candidates)) for k in self._ks
                }

    def finish(self, few_lines: Collection[str] = ()) -> dict[str, Section]:
        """Adjust the p-values for the number of methods in a table and return the sections."""
        for section in self.sections.values():
            section.few_lines = [method for method in section.scores if method in few_lines]
            families: tuple[dict[str, dict[str, Versus]], ...] = ({}, {})
            for method, versus in section.versus.items():
                families[method in few_lines][method] = versus
            section.versus = _adjusted(families[0]) | _adjusted(families[1])
        return self.sections

    @property
    def _ks(self) -> tuple[int, ...]:
        return self.config.neighbour_ks if self.only_hits else self.config.ks

    def _values(self, ranked: Ranked) -> dict[str, Values]:
        if self.only_hits:
            return per_query(ranked, self._ks, ["hit_rate"])
        found = per_query(ranked, self._ks) | diversity(ranked, self._ks, self.lists.unit_ND)
        if self.lists.views_N is None:
            return found
        return found | popularity(ranked, self._ks, percentiles(self.lists.views_N, self.task.candidates))

    def _compared(
        self, values: Mapping[str, Values], chosen_Q: NDArray[np.bool_]
    ) -> tuple[dict[str, Score], dict[str, Versus]]:
        own = np.stack(list(values.values()), axis=1)[chosen_Q]
        apart = np.stack(list(self.tower.values()), axis=1)[chosen_Q] - own
        clusters_Q, times, seed = self.task.clusters[chosen_Q], self.config.bootstrap, self.config.seed
        low, high = intervals(np.concatenate([own, apart], axis=1), clusters_Q, times, seed)
        p, width = p_values(apart, clusters_Q, times, seed), len(values)
        means, differences = own.mean(axis=0), apart.mean(axis=0)
        scores = {n: Score(*map(float, c)) for n, *c in zip(values, means, low, high, strict=False)}
        columns = zip(values, differences, low[width:], high[width:], p, strict=True)
        return scores, {n: Versus(*map(float, c)) for n, *c in columns}


def _means_by(categories_Q: NDArray[np.str_], values_Q: Values) -> dict[str, float]:
    names, place = np.unique(categories_Q, return_inverse=True)
    means = np.bincount(place, values_Q) / np.bincount(place)
    return {str(name): float(mean) for name, mean in zip(names, means, strict=True) if name}


def _adjusted(versus: dict[str, dict[str, Versus]]) -> dict[str, dict[str, Versus]]:
    adjusted: dict[str, dict[str, Versus]] = {method: {} for method in versus}
    for metric in next(iter(versus.values()), {}):
        p = holm([row[metric].p for row in versus.values()])
        for (method, row), value in zip(versus.items(), p, strict=True):
            adjusted[method][metric] = replace(row[metric], p=value, p_alone=row[metric].p)
    return adjusted
