"""Hard negative mining: nearby videos that are not known to be alike."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rayreel.tower.losses.global_batch import FILLER, Relation
from rayreel.training.pairs.config import PairsConfig

_CELLS_AT_ONCE = 2**23  # 32 MB of scores


def mine(
    embeddings_ND: NDArray[np.float32],
    rows_T: NDArray[np.int64],
    alike: Relation,
    distinct: Relation | None,
    config: PairsConfig,
    *,
    device: torch.device,
) -> NDArray[np.int32]:
    """Return each row's nearest negatives from `mined_from_rank` to `mined_to_rank`, nearest first: [T, ranks].

    Candidates are those of `rows_T` that are not alike and, with `distinct`, are distinct, ranked by cosine (unit
    embeddings); FILLER if there are fewer. Scores are computed for a few rows at a time to bound memory.
    Source: Xiong et al. 2021 (ANCE); the very nearest are left out as in Qu et al. 2021 (RocketQA), because many of
    them are unlabelled positives.
    """
    all_TD = torch.from_numpy(embeddings_ND[rows_T]).to(device)
    ids_T = torch.from_numpy(rows_T).to(device)
    width = config.mined_to_rank - config.mined_from_rank
    mined_TR = np.full((len(rows_T), width), FILLER, dtype=np.int32)
    chunk = max(1, _CELLS_AT_ONCE // max(1, len(rows_T)))
    for first in range(0, len(rows_T), chunk):
        own = slice(first, first + chunk)
        excluded = alike(ids_T[own], ids_T)
        if distinct is not None:
            excluded |= ~distinct(ids_T[own], ids_T)
        nearest = _nearest((all_TD[own] @ all_TD.T).masked_fill_(excluded, -torch.inf), ids_T, config)
        mined_TR[own, : nearest.shape[1]] = nearest.cpu().numpy()
    return mined_TR


def _nearest(score_XT: Tensor, ids_T: Tensor, config: PairsConfig) -> Tensor:
    """[X, ranks]: ids by descending score between the two ranks, FILLER where the score is -inf."""
    top = score_XT.topk(min(config.mined_to_rank, score_XT.shape[1]), dim=1)
    ids = ids_T[top.indices].masked_fill(top.values == -torch.inf, FILLER)
    return ids[:, config.mined_from_rank :]
