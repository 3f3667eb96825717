"""Measure the recall of the index against exact search."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pymilvus import MilvusClient

from rayreel.index.collection import id_list
from rayreel.index.config import IndexConfig
from rayreel.index.write import Vector

# Similarities that differ by less are ties: float32 sums of 512 products have errors of this size.
TIE = 1e-5
QUERIES_PER_CALL = 100


def recall(
    client: MilvusClient,
    collection: str,
    embeddings_QD: NDArray[np.float32],
    exact_ids: Sequence[Sequence[str]],
    config: IndexConfig,
    *,
    k: int = 10,
) -> float:
    """Return the share of the exact `k` nearest that the index finds, in [0, 1], with the service's search settings.

    `embeddings_QD` are float32 queries; `exact_ids` are for each query the ids of its nearest videos by exact search
    over the same videos, best first. A video as similar as the k-th, such as a duplicate, counts as found.
    """
    found = total = 0
    for start in range(0, len(embeddings_QD), QUERIES_PER_CALL):
        queries_QD = np.asarray(embeddings_QD[start : start + QUERIES_PER_CALL], dtype=np.float32)
        exact = [list(ids[:k]) for ids in exact_ids[start : start + QUERIES_PER_CALL]]
        answers = client.search(
            collection,
            data=list(queries_QD),
            anns_field="embedding",
            limit=k,
            search_params={"params": {"ef": max(config.ef_search, k)}},
            consistency_level="Strong",
            timeout=config.build_timeout_s,
        )
        lowest = _lowest_similarity(client, collection, queries_QD, exact, config)
        for hits, ids, least in zip(answers, exact, lowest, strict=True):
            good = sum(hit["video_id"] in ids or hit["distance"] >= least - TIE for hit in hits)
            found += min(good, len(ids))
            total += len(ids)
    return found / total if total else 0.0


def _lowest_similarity(
    client: MilvusClient,
    collection: str,
    queries_QD: NDArray[np.float32],
    exact: list[list[str]],
    config: IndexConfig,
) -> list[float]:
    """Cosine of each query with the last of its exact neighbours; infinite if the index does not have that video."""
    vectors = _stored(client, collection, sorted({ids[-1] for ids in exact if ids}), config)
    cosines = []
    for query_D, ids in zip(queries_QD, exact, strict=True):
        stored_D = vectors.get(ids[-1]) if ids else None
        if stored_D is None:
            cosines.append(np.inf)
        else:
            cosines.append(float(query_D @ stored_D / (np.linalg.norm(query_D) * np.linalg.norm(stored_D))))
    return cosines


def _stored(client: MilvusClient, collection: str, ids: Sequence[str], config: IndexConfig) -> dict[str, Vector]:
    found = client.query(
        collection,
        filter=f"video_id in {id_list(ids)}",
        output_fields=["video_id", "embedding"],
        consistency_level="Strong",
        timeout=config.build_timeout_s,
    )
    return {row["video_id"]: np.asarray(row["embedding"], dtype=np.float32) for row in found}
