"""Embeddings of many videos, the work shared out among the workers."""

import numpy as np
import torch
from numpy.typing import NDArray

from rayreel.features.matrix import FeatureMatrix
from rayreel.tower.embed import collate
from rayreel.tower.tower import VideoTower
from rayreel.training.distributed import gather_rows, world


@torch.no_grad()
def embed_rows(
    tower: VideoTower, matrix: FeatureMatrix, rows_R: NDArray[np.int64], at_once: int = 1024
) -> NDArray[np.float32]:
    """Unit embeddings [R, dim] of these rows, on every worker. All workers must ask for the same rows."""
    tower.eval()
    device = next(tower.parameters()).device
    rank, workers = world()
    mine = np.array_split(rows_R, workers)[rank]
    parts = [
        tower(collate(matrix, mine[start : start + at_once]).to(device)).float().cpu().numpy()
        for start in range(0, len(mine), at_once)
    ]
    return gather_rows(np.concatenate(parts) if parts else np.empty((0, tower.config.dim), np.float32), device)
