"""Embed many videos, distributed over the workers."""

import mmap

import numpy as np
import torch
from numpy.typing import NDArray

from rayreel.features.matrix import FeatureMatrix
from rayreel.tower.embed import collate
from rayreel.tower.tower import VideoTower
from rayreel.training.distributed import gather_rows, world


@torch.no_grad()
def embed_matrix_rows(
    tower: VideoTower, matrix: FeatureMatrix, rows_R: NDArray[np.int64], batch_size: int = 1024
) -> NDArray[np.float32]:
    """Return unit embeddings [R, dim] of these rows on every worker. All workers must pass the same rows."""
    tower.eval()
    device = next(tower.parameters()).device
    rank, workers = world()
    mine = np.array_split(rows_R, workers)[rank]
    parts = [
        tower(collate(matrix, mine[start : start + batch_size]).to(device)).float().cpu().numpy()
        for start in range(0, len(mine), batch_size)
    ]
    return gather_rows(np.concatenate(parts) if parts else np.empty((0, tower.config.dim), np.float32), device)


def lazy_zeros(rows: int, dim: int) -> NDArray[np.float32]:
    """Return zeros [rows, dim] that use memory only for the pages written.

    np.zeros requests huge pages, so each of a thousand scattered rows would use 2 MB.
    """
    pages = mmap.mmap(-1, max(1, 4 * rows * dim), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):  # Linux
        pages.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(pages, np.float32, rows * dim).reshape(rows, dim)
