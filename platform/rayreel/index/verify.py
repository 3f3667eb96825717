"""Prove that a collection holds what was sent, and finds what exact search finds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymilvus import MilvusClient

from rayreel.index.collection import id_list
from rayreel.index.config import IndexConfig
from rayreel.index.write import IndexBroken, Vector

PROBE_TOP = 10
# Wide enough that HNSW's own misses do not fail a sound index (at 20 k clustered rows ef=64 already finds 100 of 100).
PROBE_EF = 512
SELF_SIMILARITY = 0.999
# Two videos whose similarities differ by less stand in no order: float32 sums of 512 products differ by as much.
TIE = 1e-5
QUERIES_PER_CALL = 100


def check_count(client: MilvusClient, collection: str, expected: int, config: IndexConfig) -> None:
    """Check the number of videos.

    Raises:
        IndexBroken: another number is there, or none.
    """
    answer = client.query(
        collection, output_fields=["count(*)"], consistency_level="Strong", timeout=config.build_timeout_s
    )
    count = answer[0]["count(*)"]
    if count != expected or count == 0:
        raise IndexBroken(
            f"{collection} holds {count} videos where {expected} were expected. Repeated ids, or features that changed "
            "meanwhile, are the usual causes: run the extraction again, then build again."
        )


def check_probes(client: MilvusClient, collection: str, probes: Mapping[str, Vector], config: IndexConfig) -> None:
    """Check that each probe (id -> embedding as it was sent) is stored as it was sent and finds itself.

    Raises:
        IndexBroken: one is not, or does not.
    """
    _check_stored(client, collection, probes, config)
    _check_found(client, collection, probes, config)


def recall(
    client: MilvusClient,
    collection: str,
    embeddings_QD: NDArray[np.float32],
    exact_ids: Sequence[Sequence[str]],
    config: IndexConfig,
    *,
    k: int = 10,
) -> float:
    """Share of the exact `k` nearest that the index finds, in [0, 1], searched as the service searches.

    `embeddings_QD` are float32 queries, `exact_ids` for each the ids of its nearest by exact search over the same
    videos, best first. A video as similar as the k-th (a duplicate, say) stands for it.
    """
    found = total = 0
    for start in range(0, len(embeddings_QD), QUERIES_PER_CALL):
        queries_QD = np.asarray(embeddings_QD[start : start + QUERIES_PER_CALL], dtype=np.float32)
        exact = [list(ids[:k]) for ids in exact_ids[start : start + QUERIES_PER_CALL]]
        answers = _search(client, collection, queries_QD, config, limit=k, ef=max(config.ef_search, k))
        last = _last_similarity(client, collection, queries_QD, exact, config)
        for hits, ids, least in zip(answers, exact, last, strict=True):
            good = sum(hit["video_id"] in ids or hit["distance"] >= least - TIE for hit in hits)
            found += min(good, len(ids))
            total += len(ids)
    return found / total if total else 0.0


def _last_similarity(
    client: MilvusClient,
    collection: str,
    queries_QD: NDArray[np.float32],
    exact: list[list[str]],
    config: IndexConfig,
) -> list[float]:
    """Cosine of each query with the last of its exact neighbours; infinite where the index lacks that video."""
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


def _search(
    client: MilvusClient,
    collection: str,
    queries_QD: NDArray[np.float32],
    config: IndexConfig,
    *,
    limit: int,
    ef: int,
) -> list[list[dict[str, Any]]]:
    answers: list[list[dict[str, Any]]] = client.search(
        collection,
        data=list(queries_QD),
        anns_field="embedding",
        limit=limit,
        search_params={"params": {"ef": ef}},
        consistency_level="Strong",
        timeout=config.build_timeout_s,
    )
    return answers


def _check_stored(client: MilvusClient, collection: str, probes: Mapping[str, Vector], config: IndexConfig) -> None:
    stored = _stored(client, collection, list(probes), config)
    wrong = [key for key, sent in probes.items() if key not in stored or not np.allclose(stored[key], sent, atol=1e-6)]
    _refuse(collection, wrong, probes, "are not stored as they were sent")


def _check_found(client: MilvusClient, collection: str, probes: Mapping[str, Vector], config: IndexConfig) -> None:
    queries_QD = np.stack([np.asarray(probe, dtype=np.float32) for probe in probes.values()])
    wide = max(config.ef_search, PROBE_EF)
    answers = _search(client, collection, queries_QD, config, limit=PROBE_TOP, ef=wide)
    wrong = [key for key, hits in zip(probes, answers, strict=True) if not _finds_itself(key, hits)]
    _refuse(collection, wrong, probes, "do not find themselves")


def _finds_itself(video_id: str, hits: list[dict[str, Any]]) -> bool:
    """True, too, where a full page of exact duplicates of the video crowds it out."""
    same = [hit["video_id"] for hit in hits if hit["distance"] >= SELF_SIMILARITY]
    return video_id in same or len(same) == PROBE_TOP


def _refuse(collection: str, wrong: list[str], probes: Mapping[str, Vector], what: str) -> None:
    if wrong:
        raise IndexBroken(
            f"{collection}: {len(wrong)} of {len(probes)} sampled videos {what} (first: {wrong[0]!r}). Repeated ids do "
            "this, and so does a damaged index: look for repeated ids, then build again."
        )
