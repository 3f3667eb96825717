"""Embed features with a trained tower."""

import numpy as np
import torch
from numpy.typing import NDArray

from rayreel.encoders.encoder import Modality
from rayreel.errors import RayreelError
from rayreel.features.matrix import FeatureMatrix, all_rows
from rayreel.tower.batch import FeatureBatch
from rayreel.tower.tower import VideoTower


def collate(matrix: FeatureMatrix, rows: NDArray[np.int64]) -> FeatureBatch:
    """Return these rows as a padded batch; `ids_B` are the row numbers."""
    padded = {modality: matrix.vectors[modality].padded(rows) for modality in Modality}
    return FeatureBatch(
        {modality: torch.from_numpy(x).float() for modality, (x, _) in padded.items()},
        {modality: torch.from_numpy(mask) for modality, (_, mask) in padded.items()},
        torch.from_numpy(rows),
    )


@torch.inference_mode()
def embed(tower: VideoTower, matrix: FeatureMatrix, batch: int = 1024) -> NDArray[np.float32]:
    """Return unit embeddings of all rows [N, dim], computed on the tower's device."""
    tower.eval()
    device = next(tower.parameters()).device
    parts = [tower(collate(matrix, rows).to(device)).cpu().numpy() for rows in all_rows(len(matrix), batch)]
    return np.concatenate(parts) if parts else np.empty((0, tower.config.dim), np.float32)


class EmptyQuery(RayreelError):
    """A query without any modality that the tower uses."""


@torch.inference_mode()
def embed_query(tower: VideoTower, vectors: dict[Modality, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the unit embedding [dim] of one query; `vectors` holds [n, D] for each modality it has.

    Raises EmptyQuery if it has none of the modalities that the tower uses.
    """
    if not any(len(vectors.get(m, ())) for m in tower.config.modalities):
        used = ", ".join(tower.config.modalities)
        raise EmptyQuery(
            f"A query needs frames, sound or text; this one has none of the modalities that the tower uses: {used}."
        )
    tower.eval()
    device = next(tower.parameters()).device
    absent = {m: np.zeros((1, 1, tower.dims[m]), np.float32) for m in Modality}
    present = {m: vectors[m][None] for m in Modality if len(vectors.get(m, ()))}
    batch = FeatureBatch(
        {m: torch.from_numpy(x) for m, x in (absent | present).items()},
        {m: torch.full(x.shape[:2], m in present) for m, x in (absent | present).items()},
    )
    embedding: NDArray[np.float32] = tower(batch.to(device))[0].cpu().numpy()
    return embedding
