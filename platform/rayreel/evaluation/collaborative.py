"""Collaborative baselines: item-kNN and matrix factorisation from the implicit library, and EASE.

All are fitted on training interactions only and score a user from the same history as the tower. Videos without
training interactions score zero.
"""

import warnings

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from implicit.nearest_neighbours import CosineRecommender
from implicit.utils import ParameterWarning
from scipy import sparse
from threadpoolctl import threadpool_limits

from rayreel.evaluation.config import EvaluationConfig
from rayreel.evaluation.scorers import Answer, Rows, Scorer
from rayreel.evaluation.users import UserQueries, UserSplit
from rayreel.tower.memory import memorised

# The inverse of a matrix of as many rows takes a minute.
MOST_VIDEOS = 10_000


def by_item_knn(users: UserSplit, user_queries: UserQueries, config: EvaluationConfig) -> Scorer:
    """Score by the sum of cosines between a candidate and the videos of the history (Sarwar et al. 2001)."""
    model = CosineRecommender(K=config.knn_neighbours)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ParameterWarning)  # raised by the library's own conversions
        model.fit(sparse.csr_matrix(users.training_UN), show_progress=False)
    history_QN = user_queries.history(users.training_UN.shape[1])
    similarity_NN = sparse.csc_array(model.similarity, dtype=np.float32)  # candidates are columns

    def for_candidates(candidates: Rows) -> Answer:
        similarity_NC = similarity_NN[:, candidates].tocsr()
        return lambda queries: (history_QN[queries] @ similarity_NC).toarray()

    return for_candidates


def by_factors(users: UserSplit, user_queries: UserQueries, config: EvaluationConfig) -> Scorer:
    """Score by implicit-feedback matrix factorisation with alternating least squares (Hu, Koren, Volinsky 2008).

    User factors are solved from each query's history with the video factors fixed.
    """
    history_QN = sparse.csr_matrix(user_queries.history(users.training_UN.shape[1]))
    with threadpool_limits(1, user_api="blas"):  # the library has its own threads
        model = AlternatingLeastSquares(config.factors, alpha=config.view_confidence, random_state=config.seed)
        model.fit(sparse.csr_matrix(users.training_UN), show_progress=False)
        users_QF = model.recalculate_user(np.arange(history_QN.shape[0]), history_QN)

    def for_candidates(candidates: Rows) -> Answer:
        factors_CF = model.item_factors[candidates]
        return lambda queries: users_QF[queries] @ factors_CF.T

    return for_candidates


def by_ease(users: UserSplit, user_queries: UserQueries, config: EvaluationConfig) -> Scorer:
    """Score by a linear model of which videos are watched by the same people (Steck 2019, EASE).

    The newest video of a history has the weight 1, and each one before it `config.ease_decay` times as much as its
    successor. The model inverts a matrix of all videos, so there must be at most MOST_VIDEOS.
    """
    weights_NN = memorised(users.training_UN, config.ease_regularisation)
    decayed_QN = user_queries.decayed(users.training_UN.shape[1], config.ease_decay)

    def for_candidates(candidates: Rows) -> Answer:
        weights_NC = weights_NN[:, candidates]
        return lambda queries: decayed_QN[queries] @ weights_NC

    return for_candidates
