"""What a tower has to beat where there are users: the library's item-kNN and matrix factorisation.

Both are fitted on training interactions only and score a user from the same history that the tower reads. Of a video
without training interactions they know nothing.
"""

import warnings

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from implicit.nearest_neighbours import CosineRecommender
from implicit.utils import ParameterWarning
from scipy import sparse
from threadpoolctl import threadpool_limits

from rayreel.evaluation.scorers import Answer, Rows, Scorer
from rayreel.evaluation.users import UserQueries, UserSplit

_NEIGHBOURS, _FACTORS, _CONFIDENCE = 200, 64, 10.0


def by_item_knn(users: UserSplit, asked: UserQueries, neighbours: int = _NEIGHBOURS) -> Scorer:
    """Sum of the cosines between a candidate and the videos of the history (Sarwar et al. 2001)."""
    model = CosineRecommender(K=neighbours)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ParameterWarning)  # of the library's own conversions
        model.fit(sparse.csr_matrix(users.training_UN), show_progress=False)
    history_QN = asked.history(users.training_UN.shape[1])
    similarity_NN = sparse.csc_array(model.similarity, dtype=np.float32)  # of a candidate in its column

    def against(candidates: Rows) -> Answer:
        shown_NC = similarity_NN[:, candidates].tocsr()
        return lambda queries: (history_QN[queries] @ shown_NC).toarray()

    return against


def by_factors(users: UserSplit, asked: UserQueries, factors: int = _FACTORS, seed: int = 0) -> Scorer:
    """Implicit-feedback matrix factorisation by alternating least squares (Hu, Koren, Volinsky 2008).

    The users' factors are solved for from their histories, the videos' factors fixed.
    """
    history_QN = sparse.csr_matrix(asked.history(users.training_UN.shape[1]))
    with threadpool_limits(1, user_api="blas"):  # the library brings threads of its own
        model = AlternatingLeastSquares(factors, alpha=_CONFIDENCE, random_state=seed)
        model.fit(sparse.csr_matrix(users.training_UN), show_progress=False)
        users_QF = model.recalculate_user(np.arange(history_QN.shape[0]), history_QN)

    def against(candidates: Rows) -> Answer:
        shown_CF = model.item_factors[candidates]
        return lambda queries: users_QF[queries] @ shown_CF.T

    return against
