"""Embedding of several queries as one batch."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from rayreel.encoders.encoder import Modality
from rayreel.tower.batch import FeatureBatch
from rayreel.tower.tower import VideoTower

Vectors = dict[Modality, NDArray[np.float32]]


@torch.inference_mode()
def embed_queries(tower: VideoTower, queries: Sequence[Vectors]) -> NDArray[np.float32]:
    """Return unit embeddings [B, dim] of B queries, each [n, D] per modality without absent ones.

    A query without any modality that the tower reads becomes zero.
    """
    tower.eval()
    padded = {modality: _padded([q.get(modality) for q in queries], tower.dims[modality]) for modality in Modality}
    batch = FeatureBatch(
        {modality: torch.from_numpy(x) for modality, (x, _) in padded.items()},
        {modality: torch.from_numpy(mask) for modality, (_, mask) in padded.items()},
    )
    embeddings_BD: NDArray[np.float32] = tower(batch.to(next(tower.parameters()).device)).cpu().numpy()
    return embeddings_BD


def _padded(vectors: Sequence[NDArray[np.float32] | None], dim: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    counts = np.array([0 if v is None else len(v) for v in vectors])
    mask_BN = np.arange(max(1, counts.max())) < counts[:, None]
    x_BND = np.zeros((*mask_BN.shape, dim), np.float32)
    for row_ND, v in zip(x_BND, vectors, strict=True):
        if v is not None:
            row_ND[: len(v)] = v
    return x_BND, mask_BN
