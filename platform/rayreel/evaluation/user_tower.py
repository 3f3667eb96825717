"""Users as a user tower sees them."""

import numpy as np
import torch
from numpy.typing import NDArray

from rayreel.evaluation.scorers import Answer, Rows, Scorer, Scores
from rayreel.evaluation.sequences import Sequences
from rayreel.evaluation.users import UserQueries
from rayreel.tower.user import UserTower
from rayreel.tower.user_network import ItemTable


def by_user_tower(tower: UserTower, vectors_ND: NDArray[np.float32], ids: list[str], queries: UserQueries) -> Scorer:
    """Score as the service does with this tower, given the vectors and ids of all videos."""
    sequences, codes_N = Sequences.of_queries(queries), tower.codes_of(ids)
    items = ItemTable(torch.from_numpy(vectors_ND), torch.from_numpy(codes_N))

    def for_candidates(candidates: Rows) -> Answer:
        vectors_CD = vectors_ND[candidates]
        with torch.inference_mode():
            residuals_CW = tower.network.residuals(items.codes_N[candidates]).numpy()

        def answer(numbers: Rows) -> Scores:
            history = sequences.histories(numbers)
            with torch.inference_mode():
                users = tower.network.eval()(items, history)
            scores: Scores = users.content_BD.numpy() @ vectors_CD.T + users.residual_BW.numpy() @ residuals_CW.T
            if tower.memory is not None:
                rows_BL = history.rows_BL.numpy()
                scores += tower.memory.scores(np.where(rows_BL < 0, 0, codes_N[rows_BL]))[:, codes_N[candidates]]
            return scores

        return answer

    return for_candidates
