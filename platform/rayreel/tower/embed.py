"""Features to embeddings with a finished tower."""

import numpy as np
import torch
from numpy.typing import NDArray

from rayreel.encoders.encoder import Modality
from rayreel.errors import RayreelError
from rayreel.features.matrix import FeatureMatrix, all_rows
from rayreel.tower.batch import FeatureBatch
from rayreel.tower.tower import VideoTower


def collate(matrix: FeatureMatrix, rows: NDArray[np.int64]) -> FeatureBatch:
    """The named rows as a batch; `ids_B` are the row numbers."""
    padded = {modality: matrix.vectors[modality].padded(rows) for modality in Modality}
    return FeatureBatch(
        {modality: torch.from_numpy(x).float() for modality, (x, _) in padded.items()},
        {modality: torch.from_numpy(mask) for modality, (_, mask) in padded.items()},
        torch.from_numpy(rows),
    )


@torch.inference_mode()
def embed(tower: VideoTower, matrix: FeatureMatrix, batch: int = 1024) -> NDArray[np.float32]:
    """Unit embeddings of all rows [N, dim], on the device the tower is on."""
    tower.eval()
    device = next(tower.parameters()).device
    parts = [tower(collate(matrix, rows).to(device)).cpu().numpy() for rows in all_rows(len(matrix), batch)]
    return np.concatenate(parts) if parts else np.empty((0, tower.config.dim), np.float32)


class EmptyQuery(RayreelError):
    """A query of which nothing is known."""


@torch.inference_mode()
def embed_query(tower: VideoTower, vectors: dict[Modality, NDArray[np.float32]]) -> NDArray[np.float32]:
    """The unit embedding [dim] of one query from what is known of it: [n, D] per modality, absent ones left out.

    Raises EmptyQuery when every modality that the tower looks at is absent.
    """
    if not any(len(vectors.get(m, ())) for m in tower.config.modalities):
        looked_at = ", ".join(tower.config.modalities)
        raise EmptyQuery(
            f"A query needs frames, sound or text; this one has none of what the tower reads: {looked_at}."
        )
    tower.eval()
    device = next(tower.parameters()).device
    absent = {m: np.zeros((1, 1, tower.dims[m]), np.float32) for m in Modality}
    shown = {m: vectors[m][None] for m in Modality if len(vectors.get(m, ()))}
    batch = FeatureBatch(
        {m: torch.from_numpy(x) for m, x in (absent | shown).items()},
        {m: torch.full(x.shape[:2], m in shown) for m, x in (absent | shown).items()},
    )
    embedding: NDArray[np.float32] = tower(batch.to(device))[0].cpu().numpy()
    return embedding
