"""Search: recall and rate of the index, beside exact search in memory."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.measurement import Measurement, Reference
from rayreel.index.config import IndexConfig
from rayreel.index.connect import connect
from rayreel.index.embedded import stop_embedded
from rayreel.index.filters import parse_filter
from rayreel.index.search import VideoIndex
from rayreel.index.write import IndexRow, create_collection, make_searchable, upsert

COLLECTION = "rayreel_benchmark"
DIM, TOP = 512, 10
# A filter by date, views or language may leave 1 video in 100.
RARE = 100

Embeddings = NDArray[np.float32]
Search = Callable[[Embeddings], list[str]]


def measure_search(rows: int, queries: int, settings: IndexConfig) -> list[Measurement]:
    """Fill a new collection with synthetic videos and search it, one query after another. Needs a Ray.

    Uses the configured Milvus, or Milvus Lite in a temporary folder.
    """
    embeddings_ND, queries_QD = synthetic_embeddings(rows, queries)
    with tempfile.TemporaryDirectory(prefix="rayreel-search-") as folder:
        client = connect(settings, Path(folder))
        try:
            create_collection(client, COLLECTION, DIM, settings)
            videos = (IndexRow(f"v{n}", x_D, extra={"views": n % RARE}) for n, x_D in enumerate(embeddings_ND))
            upsert(client, COLLECTION, videos, settings)
            make_searchable(client, COLLECTION, settings)
            index = VideoIndex(client, settings, COLLECTION)

            def search(query_D: Embeddings) -> list[str]:
                return [hit.video_id for hit in index.search(query_D, TOP)]

            def filtered(query_D: Embeddings) -> list[str]:
                rare = parse_filter({"extra.views": {"gte": RARE - 1}})
                return [hit.video_id for hit in index.search(query_D, TOP, filter=rare)]

            every, some = np.arange(rows), np.arange(RARE - 1, rows, RARE)
            return [
                *_compare("search", queries_QD, search, lambda query_D: exact(embeddings_ND, query_D, every)),
                *_compare("filtered search", queries_QD, filtered, lambda query_D: exact(embeddings_ND, query_D, some)),
            ]
        finally:
            client.drop_collection(COLLECTION)
            stop_embedded(Path(folder))


def synthetic_embeddings(rows: int, queries: int, seed: int = 0) -> tuple[Embeddings, Embeddings]:
    """Return unit embeddings of videos around 200 centres, and of queries from the same distribution."""
    rng, count = np.random.default_rng(seed), rows + queries
    centres_CD = rng.normal(size=(200, DIM))
    points_ND = centres_CD[rng.integers(0, 200, count)] + 0.8 * rng.normal(size=(count, DIM))
    unit_ND = (points_ND / np.linalg.norm(points_ND, axis=1, keepdims=True)).astype(np.float32)
    return unit_ND[:rows], unit_ND[rows:]


def exact(embeddings_ND: Embeddings, query_D: Embeddings, rows_K: NDArray[np.int64]) -> list[str]:
    """Return the nearest ids among `rows_K`, best first."""
    scores_K = (embeddings_ND if len(rows_K) == len(embeddings_ND) else embeddings_ND[rows_K]) @ query_D
    count = min(TOP, len(scores_K))
    best_T = np.argpartition(-scores_K, count - 1)[:count]
    return [f"v{n}" for n in rows_K[best_T[np.argsort(-scores_K[best_T])]]]


def _compare(name: str, queries_QD: Embeddings, search: Search, exact: Search) -> list[Measurement]:
    """Return the rate of a search (1 / median latency) and its recall."""
    (found, rate), (truth, exact_rate) = _timed(search, queries_QD), _timed(exact, queries_QD)
    common = sum(len({*ours} & {*best}) for ours, best in zip(found, truth, strict=True))
    recall, limit = common / sum(map(len, truth)), Reference(name="exact", value=1, floor=0.98)
    peer = Reference(name="exact, in memory", value=exact_rate)
    rate_of = Measurement(name=name, unit="searches/s", value=rate, peer=peer)
    return [rate_of, Measurement(name=f"{name}, recall@{TOP}", unit="", value=recall, limit=limit)]


def _timed(search: Search, queries_QD: Embeddings) -> tuple[list[list[str]], float]:
    """Ask every query once, after one to warm up. Return the answers and 1 / median latency."""
    answers, times_s = [search(queries_QD[0])], [time.perf_counter()]
    for query_D in queries_QD:
        answers.append(search(query_D))
        times_s.append(time.perf_counter())
    return answers[1:], 1 / float(np.median(np.diff(times_s)))
