"""Baselines of a few lines on frozen features, which training has to beat to be worth its cost."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

from rayreel.encoders.encoder import Modality
from rayreel.evaluation.content import weighted
from rayreel.evaluation.exam import Exam
from rayreel.evaluation.labelled import probed, propagated
from rayreel.evaluation.reranking import reranked
from rayreel.evaluation.scorers import Answer, Rows, Scorer, Vectors
from rayreel.evaluation.selection import Selection
from rayreel.evaluation.smoothing import NearestVideos
from rayreel.evaluation.task import Make, Method, Task
from rayreel.evaluation.users import UserTask
from rayreel.tower.config import FrozenConfig
from rayreel.tower.embed import embed
from rayreel.tower.frozen import FrozenFeatures

FROZEN = "frozen features"
MODALITY = "frozen, best modality"
WEIGHTED = "frozen, weights chosen"
WHITENED = "frozen, whitened"
AVERAGED = "frozen, neighbours averaged"
CSLS = "frozen, hubs corrected"
RERANKED = "frozen, re-ranked"
PROBE = "frozen, category probe"
PROPAGATED = "frozen, labels propagated"
AVERAGED_PROBE = "frozen, averaged and probed"
WITHOUT_LABELS = (MODALITY, WEIGHTED, WHITENED, AVERAGED, CSLS, RERANKED)
FROM_LABELS = (PROBE, PROPAGATED, AVERAGED_PROBE)
"""These learn from the categories of training and validation videos."""

# Above, all vectors at once are more than evaluation should hold; exact neighbours of 20,000 videos take half a minute.
_MOST_VIDEOS, _MOST_NEIGHBOURS, _MOST_GRAPH, _MOST_RERANKED = 100_000, 20_000, 5_000, 2_000
_MIN_VIDEOS, _K = 6, 10
_Setting = Mapping[str, Any]
_Build = Callable[[NDArray[np.float32], Rows, _Setting], Method]


@dataclass(frozen=True, slots=True)
class FrozenBaseline:
    """Makes a method from unit vectors, the rows of training and validation videos, and one of the settings.

    `settings`: those to choose from, the first if nothing can be chosen; `most`: videos of the largest catalog.
    """

    build: _Build
    settings: tuple[_Setting, ...] = ({},)
    most: int = _MOST_VIDEOS


@dataclass(frozen=True, slots=True)
class FewLines:
    """The baselines of a few lines for a catalog. `chosen`: the settings of each that was made, by name."""

    exam: Exam
    frozen: FrozenFeatures
    chosen: dict[str, str] = field(default_factory=dict)

    def methods(self) -> dict[str, Make]:
        """Return the methods that this catalog allows, by name."""
        unit = cache(lambda: embed(self.frozen, self.exam.matrix))
        selection = cache(lambda: Selection.of(self.exam))
        recipes = {**_recipes(self.frozen), **_with_labels(self.exam)}
        possible = {
            name: recipe for name, recipe in recipes.items() if _MIN_VIDEOS <= len(self.exam.matrix) <= recipe.most
        }
        return {name: partial(self._make, name, recipe, unit, selection) for name, recipe in possible.items()}

    def _make(
        self,
        name: str,
        recipe: FrozenBaseline,
        unit: Callable[[], NDArray[np.float32]],
        selection: Callable[[], Selection],
    ) -> Method:
        unit_ND, setting = unit(), recipe.settings[0]
        if len(recipe.settings) > 1:
            chosen_from = selection()
            unit_SD, known = unit_ND[chosen_from.rows_S], np.arange(len(chosen_from.rows_S))
            setting = chosen_from.best(recipe.settings, partial(recipe.build, unit_SD, known))
        self.chosen[name] = ", ".join(f"{key} {value}" for key, value in setting.items())
        known = np.union1d(self.exam.split.train, self.exam.split.validation)
        return recipe.build(unit_ND, known, setting)


def fit_frozen_features(exam: Exam, config: FrozenConfig | None = None) -> FrozenFeatures:
    """Return frozen features with the default weights, standardised by the training videos."""
    vectors = exam.matrix.vectors
    frozen = FrozenFeatures(config or FrozenConfig(), {m: ragged.values.shape[1] for m, ragged in vectors.items()})
    frozen.fit_inputs({modality: ragged.of(exam.split.train) for modality, ragged in vectors.items()})
    return frozen


def of_vectors(vectors_ND: Vectors) -> Method:
    """Return the method that scores by inner products of these vectors."""
    return lambda task: task.by(vectors_ND)


def _recipes(frozen: FrozenFeatures) -> dict[str, FrozenBaseline]:
    return {
        MODALITY: FrozenBaseline(partial(_reweighted, frozen), tuple({m.value: 1.0} for m in frozen.modalities)),
        WEIGHTED: FrozenBaseline(partial(_reweighted, frozen), tuple(_weights(frozen))),
        WHITENED: FrozenBaseline(_whitened, tuple(_grid(dims=(64, 32, 128), power=(0.5, 1.0, 0.0)))),
        AVERAGED: FrozenBaseline(_averaged, tuple(_grid(k=(5, 3, 10), alpha=(0, 3))), _MOST_NEIGHBOURS),
        CSLS: FrozenBaseline(_without_hubs, most=_MOST_NEIGHBOURS),
        RERANKED: FrozenBaseline(_reranked, tuple(_grid(k1=(20, 10), original=(0.3, 0.6))), _MOST_RERANKED),
    }


def _with_labels(exam: Exam) -> dict[str, FrozenBaseline]:
    """Return the recipes that learn from categories; none without two of them."""
    categories_N = np.array(exam.matrix.column("category"), dtype=np.str_)
    known = np.union1d(exam.split.train, exam.split.validation)
    labelled = known[categories_N[known] != ""]
    if len(np.unique(categories_N[labelled])) < 2:
        return {}

    def probe(unit_ND: NDArray[np.float32], _known: Rows, _setting: _Setting) -> Method:
        return of_vectors(probed(unit_ND, categories_N, labelled, exam.config.seed))

    def spread(unit_ND: NDArray[np.float32], _known: Rows, _setting: _Setting) -> Method:
        return of_vectors(propagated(unit_ND, categories_N, labelled))

    def both(unit_ND: NDArray[np.float32], _known: Rows, _setting: _Setting) -> Method:
        near = NearestVideos.of(unit_ND, 5)
        return of_vectors(probed(near.averaged(unit_ND, 5), categories_N, labelled, exam.config.seed))

    return {
        PROBE: FrozenBaseline(probe),
        PROPAGATED: FrozenBaseline(spread, most=_MOST_GRAPH),
        AVERAGED_PROBE: FrozenBaseline(both, most=_MOST_NEIGHBOURS),
    }


def _grid(**values: tuple[Any, ...]) -> Iterator[_Setting]:
    return (dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values()))


def _weights(frozen: FrozenFeatures) -> Iterator[_Setting]:
    """Yield the weights that the features have, then all in steps of a fifth."""
    yield {m.value: weight for m, weight in frozen.config.weights.items()}
    for shares in itertools.product(range(6), repeat=len(frozen.modalities)):
        if sum(shares) == 5:
            yield {m.value: share / 5 for m, share in zip(frozen.modalities, shares, strict=True) if share}


def _reweighted(frozen: FrozenFeatures, unit_ND: NDArray[np.float32], _known: Rows, setting: _Setting) -> Method:
    ends = list(itertools.accumulate(frozen.dims[m] for m in frozen.modalities))
    slices = {m: slice(end - frozen.dims[m], end) for m, end in zip(frozen.modalities, ends, strict=True)}
    weights = {Modality(name): weight for name, weight in setting.items()}
    parts = {m: normalize(unit_ND[:, slices[m]]) for m in weights}
    return of_vectors(normalize(weighted(parts, weights)))


def _whitened(unit_ND: NDArray[np.float32], known: Rows, setting: _Setting) -> Method:
    """Project on the principal components of known videos, each divided by its deviation to a power."""
    dims = min(setting["dims"], len(known) - 1, unit_ND.shape[1])
    pca = PCA(dims, svd_solver="randomized", random_state=0).fit(unit_ND[known[:_MOST_NEIGHBOURS]])
    spread_D = np.sqrt(np.maximum(pca.explained_variance_, np.finfo(np.float32).eps)) ** setting["power"]
    return of_vectors(normalize(pca.transform(unit_ND) / spread_D).astype(np.float32))


def _averaged(unit_ND: NDArray[np.float32], _known: Rows, setting: _Setting) -> Method:
    near = NearestVideos.of(unit_ND, setting["k"])
    return of_vectors(near.averaged(unit_ND, setting["k"], setting["alpha"]))


def _without_hubs(unit_ND: NDArray[np.float32], _known: Rows, _setting: _Setting) -> Method:
    """Subtract half of how crowded a candidate is; the query's own crowding changes no ranking.

    Source: Conneau et al. 2018, Word Translation Without Parallel Data (CSLS), with its ten neighbours.
    """
    half_N = (NearestVideos.of(unit_ND, _K).crowding(_K) / 2).astype(np.float32)

    def method(task: Task) -> Scorer:
        scorer = task.by(unit_ND)

        def for_candidates(candidates: Rows) -> Answer:
            answer = scorer(candidates)
            return lambda queries: answer(queries) - half_N[candidates]

        return for_candidates

    return method


def _reranked(unit_ND: NDArray[np.float32], _known: Rows, setting: _Setting) -> Method:
    similarity_NN = reranked(unit_ND, setting["k1"], original=setting["original"])

    def method(task: Task) -> Scorer:
        if not isinstance(task, UserTask):
            return lambda candidates: lambda queries: similarity_NN[np.ix_(queries, candidates)]
        recent_QN = task.user_queries.recent(task.videos, task.last)
        # The mean similarity to a user's last videos.
        return lambda candidates: lambda queries: (recent_QN[queries] @ similarity_NN)[:, candidates].astype(np.float32)

    return method
