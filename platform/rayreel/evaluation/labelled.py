"""Baselines that learn from the categories of known videos."""

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize
from sklearn.semi_supervised import LabelSpreading

_MOST_LABELLED = 5_000
# Nearly no regularisation: there are more features than labelled videos, and of 1, 10 and 100 this was the best.
_INVERSE_REGULARISATION = 100.0


def probed(
    unit_ND: NDArray[np.float32], categories_N: NDArray[np.str_], labelled: NDArray[np.int64], seed: int = 0
) -> NDArray[np.float32]:
    """Return the vectors beside what a logistic regression on the categories of `labelled` says: [N, D + categories].

    Its scores are centred for each video and brought to unit length; both parts have the same weight.
    """
    if len(labelled) > _MOST_LABELLED:
        labelled = np.random.default_rng(seed).choice(labelled, _MOST_LABELLED, replace=False)
    regression = LogisticRegression(C=_INVERSE_REGULARISATION, max_iter=1000)
    regression.fit(unit_ND[labelled], categories_N[labelled])
    return _beside(unit_ND, np.log(np.maximum(regression.predict_proba(unit_ND), np.finfo(np.float32).tiny)))


def propagated(
    unit_ND: NDArray[np.float32], categories_N: NDArray[np.str_], labelled: NDArray[np.int64], neighbours: int = 10
) -> NDArray[np.float32]:
    """Return the vectors beside the categories of `labelled`, spread over the graph of nearest neighbours, as `probed`.

    Source: Zhou et al. 2004, Learning with Local and Global Consistency.
    """
    known_L = np.unique(categories_N[labelled], return_inverse=True)[1]
    codes_N = np.full(len(unit_ND), -1)
    codes_N[labelled] = known_L
    spreading = LabelSpreading(kernel="knn", n_neighbors=min(neighbours, len(unit_ND) - 1))
    with np.errstate(invalid="ignore", divide="ignore"):  # a video that no label reaches has no shares
        spreading.fit(unit_ND, codes_N)
    return _beside(unit_ND, np.nan_to_num(spreading.label_distributions_))


def _beside(unit_ND: NDArray[np.float32], scores_NC: NDArray[np.floating]) -> NDArray[np.float32]:
    scores_NC = normalize(scores_NC - scores_NC.mean(axis=1, keepdims=True))
    return np.concatenate([unit_ND, scores_NC], axis=1).astype(np.float32)
