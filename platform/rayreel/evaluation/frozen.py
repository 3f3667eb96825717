"""Baselines of a few lines on frozen features, which training has to beat to be worth its cost."""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from rayreel.evaluation.exam import Exam
from rayreel.tower.config import FrozenConfig
from rayreel.tower.embed import embed
from rayreel.tower.frozen import FrozenFeatures

FROZEN = "frozen features"
AVERAGED = "frozen, neighbours averaged"
PROBE = "frozen, category probe"

_NEIGHBOURS = 5
# Exact neighbours of 20,000 videos take half a minute, and the probe's time grows with videos and categories.
_MOST_AVERAGED = 20_000
_MOST_PROBED = 5_000
# Nearly no regularisation: there are more features than labelled videos, and of 1, 10 and 100 this was the best.
_INVERSE_REGULARISATION = 100.0


def fit_frozen_features(exam: Exam, config: FrozenConfig | None = None) -> FrozenFeatures:
    """Return frozen features with the default weights, standardised by the training videos."""
    vectors = exam.matrix.vectors
    frozen = FrozenFeatures(config or FrozenConfig(), {m: ragged.values.shape[1] for m, ragged in vectors.items()})
    frozen.fit_inputs({modality: ragged.of(exam.split.train) for modality, ragged in vectors.items()})
    return frozen


def from_frozen(frozen: FrozenFeatures, exam: Exam) -> dict[str, Callable[[], NDArray[np.float32]]]:
    """Return the methods that start from frozen features and that this catalog allows."""
    made: dict[str, Callable[[], NDArray[np.float32]]] = {}
    if _NEIGHBOURS < len(exam.matrix) <= _MOST_AVERAGED:
        made[AVERAGED] = lambda: averaged(embed(frozen, exam.matrix))
    known = np.union1d(exam.split.train, exam.split.validation)
    categories_N = np.array(exam.matrix.column("category"), dtype=np.str_)
    labelled = known[categories_N[known] != ""]
    if len(np.unique(categories_N[labelled])) > 1:
        made[PROBE] = partial(_probed, frozen, exam, categories_N, labelled)
    return made


def averaged(unit_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return unit vectors [N, D]: the sum of each with its five nearest others.

    Source: Arandjelović & Zisserman 2012, database-side feature augmentation, with equal weights.
    """
    nearest_NK = NearestNeighbors(n_neighbors=_NEIGHBOURS, algorithm="brute").fit(unit_ND).kneighbors()[1]
    summed: NDArray[np.float32] = normalize(unit_ND + unit_ND[nearest_NK].sum(axis=1))
    return summed


def probed(
    unit_ND: NDArray[np.float32], categories_N: NDArray[np.str_], labelled: NDArray[np.int64], seed: int = 0
) -> NDArray[np.float32]:
    """Return the vectors beside what a logistic regression on the categories of `labelled` says: [N, D + categories].

    Its scores are centred for each video and brought to unit length; both parts have the same weight.
    """
    if len(labelled) > _MOST_PROBED:
        labelled = np.random.default_rng(seed).choice(labelled, _MOST_PROBED, replace=False)
    regression = LogisticRegression(C=_INVERSE_REGULARISATION, max_iter=1000)
    regression.fit(unit_ND[labelled], categories_N[labelled])
    scores_NC = np.log(np.maximum(regression.predict_proba(unit_ND), np.finfo(np.float32).tiny))
    scores_NC = normalize(scores_NC - scores_NC.mean(axis=1, keepdims=True))
    return np.concatenate([unit_ND, scores_NC], axis=1).astype(np.float32)


def _probed(
    frozen: FrozenFeatures, exam: Exam, categories_N: NDArray[np.str_], labelled: NDArray[np.int64]
) -> NDArray[np.float32]:
    return probed(embed(frozen, exam.matrix), categories_N, labelled, exam.config.seed)
