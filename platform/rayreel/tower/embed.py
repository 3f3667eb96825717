"""Embed features and queries."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from rayreel.encoders.encoder import Modality
from rayreel.errors import RayreelError
from rayreel.features.matrix import FeatureMatrix, all_rows
from rayreel.tower.batch import FeatureBatch
from rayreel.tower.embedder import Embedder


def collate(matrix: FeatureMatrix, rows: NDArray[np.int64]) -> FeatureBatch:
    """Return these rows as a padded batch; `ids_B` are the row numbers."""
    padded = {modality: matrix.vectors[modality].padded(rows) for modality in Modality}
    return FeatureBatch(
        {modality: torch.from_numpy(x).float() for modality, (x, _) in padded.items()},
        {modality: torch.from_numpy(mask) for modality, (_, mask) in padded.items()},
        torch.from_numpy(rows),
    )


@torch.inference_mode()
def embed(tower: Embedder, matrix: FeatureMatrix, batch: int = 1024) -> NDArray[np.float32]:
    """Return unit embeddings of all rows [N, dim], computed on the tower's device.

    >>> from rayreel.features.store import open_store
    >>> from rayreel.storage import Storage
    >>> from rayreel.tower.config import TowerConfig
    >>> from rayreel.tower.tower import VideoTower
    >>> storage = Storage("demo")
    >>> store = open_store(storage, storage.folders(storage.path("features"))[0])
    >>> tower = VideoTower(TowerConfig(dim=64), store.key.dims)  # of a trained one: registry.load(version)
    >>> embed(tower, FeatureMatrix.from_table(store.read())).shape
    (48, 64)
    """
    tower.eval()
    parts = [tower(collate(matrix, rows).to(tower.device)).cpu().numpy() for rows in all_rows(len(matrix), batch)]
    return np.concatenate(parts) if parts else np.empty((0, tower.dim), np.float32)


class EmptyQuery(RayreelError):
    """A query without any modality that the tower uses."""


QueryVectors = dict[Modality, NDArray[np.float32]]


def embed_query(tower: Embedder, vectors: QueryVectors) -> NDArray[np.float32]:
    """Return the unit embedding [dim] of one query; `vectors` holds [n, D] for each modality it has.

    Raises EmptyQuery if it has none of the modalities that the tower uses, or no words where only words are compared.

    >>> from rayreel.tower.config import TowerConfig
    >>> from rayreel.tower.tower import VideoTower
    >>> tower = VideoTower(TowerConfig(dim=64), {Modality.VISUAL: 1280, Modality.AUDIO: 128, Modality.TEXT: 384})
    >>> text_1D = np.ones((1, 384), np.float32)  # from a text encoder
    >>> embed_query(tower, {Modality.TEXT: text_1D}).shape
    (64,)
    """
    if not any(len(vectors.get(m, ())) for m in tower.modalities):
        used = ", ".join(tower.modalities)
        raise EmptyQuery(
            f"A query needs frames, sound or text; this one has none of the modalities that the tower uses: {used}."
        )
    embedding_D: NDArray[np.float32] = embed_queries(tower, [vectors])[0]
    if set(tower.modalities) == {Modality.TEXT} and not embedding_D.any():
        raise EmptyQuery("Nothing of this query can be compared: it has no words. Query by a text with words.")
    return embedding_D


def embed_words(tower: Embedder, vectors: QueryVectors) -> NDArray[np.float32]:
    """Return the unit embedding [dim] of a query in words; `vectors` are those of `WordEncoders.encode`.

    Raises EmptyQuery if it has none of the modalities that the tower uses.
    """
    return embed_query(tower, tower.centred(vectors))


@torch.inference_mode()
def embed_queries(tower: Embedder, queries: Sequence[QueryVectors]) -> NDArray[np.float32]:
    """Return unit embeddings [B, dim] of B queries, each [n, D] per modality without absent ones.

    A query without any modality that the tower reads becomes zero.
    """
    tower.eval()
    padded = {modality: _padded([q.get(modality) for q in queries], tower.dims[modality]) for modality in Modality}
    batch = FeatureBatch(
        {modality: torch.from_numpy(x) for modality, (x, _) in padded.items()},
        {modality: torch.from_numpy(mask) for modality, (_, mask) in padded.items()},
    )
    embeddings_BD: NDArray[np.float32] = tower(batch.to(tower.device)).cpu().numpy()
    return embeddings_BD


def _padded(vectors: Sequence[NDArray[np.float32] | None], dim: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    counts = np.array([0 if v is None else len(v) for v in vectors])
    mask_BN = np.arange(max(1, counts.max())) < counts[:, None]
    x_BND = np.zeros((*mask_BN.shape, dim), np.float32)
    for row_ND, v in zip(x_BND, vectors, strict=True):
        if v is not None:
            row_ND[: len(v)] = v
    return x_BND, mask_BN
