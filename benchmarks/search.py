"""How much of the truth the index finds, and how fast, beside exact search in memory."""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rayreel.index.config import IndexConfig
from rayreel.index.connect import connect
from rayreel.index.embedded import stop_embedded
from rayreel.index.filters import Filter, parse_filter
from rayreel.index.search import FUSION_DEPTH, Hit, VideoIndex, fused
from rayreel.index.write import IndexRow, create_collection, make_searchable, upsert

COLLECTION = "rayreel_benchmark"
DIM = 512
TOP = 10
CATEGORIES = 20
VOCABULARY = 20_000
# One in a hundred, as a filter by date, views or language may leave.
RARE = 100


@dataclass(frozen=True, slots=True)
class World:
    """Made-up videos around centres, and queries that are none of them but lie as they do."""

    embeddings_ND: NDArray[np.float32]
    queries_QD: NDArray[np.float32]
    words: list[str]

    @classmethod
    def make(cls, rows: int, queries: int, dim: int, seed: int = 0) -> "World":
        """Two hundred centres; words by Zipf's law."""
        rng = np.random.default_rng(seed)
        centres_CD = rng.normal(size=(200, dim))
        points_ND = centres_CD[rng.integers(0, 200, rows + queries)] + 0.8 * rng.normal(size=(rows + queries, dim))
        unit_ND = (points_ND / np.linalg.norm(points_ND, axis=1, keepdims=True)).astype(np.float32)
        drawn = np.minimum(rng.zipf(1.2, size=(rows + queries, 12)), VOCABULARY)
        return cls(unit_ND[:rows], unit_ND[rows:], [" ".join(f"word{word}" for word in line) for line in drawn])

    def rows(self) -> Iterator[IndexRow]:
        """As the index takes them."""
        for n, embedding in enumerate(self.embeddings_ND):
            yield IndexRow(
                f"v{n}",
                embedding,
                title=f"video {n}",
                category=f"category {n % CATEGORIES}",
                tags=(f"seventh {n % 7}", f"thirtieth {n % 30}"),
                extra={"views": n % RARE, "created_at": float(n)},
                text=self.words[n],
            )

    def query_words(self, number: int) -> str:
        """Three words for a query."""
        return " ".join(self.words[len(self.embeddings_ND) + number].split()[:3])

    def exact(self, query_D: NDArray[np.float32], count: int, passing_K: NDArray[np.int64] | None = None) -> list[str]:
        """The nearest ids by comparing all, or those that pass a filter."""
        scores_K = (self.embeddings_ND if passing_K is None else self.embeddings_ND[passing_K]) @ query_D
        count = min(count, len(scores_K))
        best_T = np.argpartition(-scores_K, count - 1)[:count]
        best_T = best_T[np.argsort(-scores_K[best_T])]
        return [f"v{n}" for n in (best_T if passing_K is None else passing_K[best_T])]


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of search over so many rows; times in milliseconds."""

    rows: int
    what: str
    recall: float
    p50_ms: float
    p95_ms: float
    numpy_ms: float | None


def measure_search(rows: int, queries: int, settings: IndexConfig) -> tuple[list[Finding], float, float]:
    """Fill a fresh collection of so many rows and search it; also the seconds of filling and of indexing.

    Milvus is the configured one, or else Milvus Lite in a folder of its own.
    """
    world = World.make(rows, queries, DIM)
    with tempfile.TemporaryDirectory(prefix="rayreel-search-") as folder:
        client = connect(settings, Path(folder))
        try:
            create_collection(client, COLLECTION, DIM, settings)
            started = time.perf_counter()
            upsert(client, COLLECTION, world.rows(), settings)
            filled = time.perf_counter()
            make_searchable(client, COLLECTION, settings)
            ready = time.perf_counter()
            return _searches(world, VideoIndex(client, settings, COLLECTION)), filled - started, ready - filled
        finally:
            client.drop_collection(COLLECTION)
            stop_embedded(Path(folder))


def _searches(world: World, index: VideoIndex) -> list[Finding]:
    number_N = np.arange(len(world.embeddings_ND))
    narrowed = {
        f"category, 1 of {CATEGORIES}": ({"category": "category 3"}, number_N % CATEGORIES == 3),
        "any of two tags, 1 of 6": (
            {"tags": {"any": ["seventh 3", "thirtieth 29"]}},
            (number_N % 7 == 3) | (number_N % 30 == 29),
        ),
        f"extra.views, 1 of {RARE}": ({"extra.views": {"gte": RARE - 1}}, number_N % RARE == RARE - 1),
    }
    found = [_dense(world, index, "dense", None, None)]
    for what, (written, passes_N) in narrowed.items():
        found.append(_dense(world, index, what, parse_filter(written), np.flatnonzero(passes_N)))
    return [*found, _hybrid(world, index)]


def _dense(
    world: World, index: VideoIndex, what: str, wanted: Filter | None, passing_K: NDArray[np.int64] | None
) -> Finding:
    exact, numpy_ms = _timed(world, lambda n: world.exact(world.queries_QD[n], TOP, passing_K))
    hits, took_ms = _timed(world, lambda n: _ids(index.search(world.queries_QD[n], TOP, filter=wanted)))
    return _finding(world, what, hits, exact, took_ms, float(np.median(numpy_ms)))


def _hybrid(world: World, index: VideoIndex) -> Finding:
    """Beside the fusion of exact similarity with the same words' ranking, which Milvus alone can give."""

    def truth(n: int) -> list[str]:
        near = [Hit(video_id, 0.0, "", "") for video_id in world.exact(world.queries_QD[n], FUSION_DEPTH)]
        return _ids(fused([near, index.by_words(world.query_words(n), FUSION_DEPTH)])[:TOP])

    exact, _ = _timed(world, truth)
    hits, took_ms = _timed(world, lambda n: _ids(index.hybrid(world.queries_QD[n], world.query_words(n), TOP)))
    return _finding(world, "hybrid (dense + BM25)", hits, exact, took_ms, None)


def _timed(world: World, ask: Callable[[int], list[str]]) -> tuple[list[list[str]], NDArray[np.float64]]:
    """Ask every query once, after one that warms up."""
    ask(0)
    answers, took = [], []
    for number in range(len(world.queries_QD)):
        started = time.perf_counter()
        answers.append(ask(number))
        took.append(1000 * (time.perf_counter() - started))
    return answers, np.array(took)


def _finding(
    world: World,
    what: str,
    hits: list[list[str]],
    exact: list[list[str]],
    took_ms: NDArray[np.float64],
    numpy_ms: float | None,
) -> Finding:
    common = sum(len({*found} & {*wanted}) for found, wanted in zip(hits, exact, strict=True))
    p50_ms, p95_ms = np.percentile(took_ms, [50, 95])
    recall = common / sum(map(len, exact))
    return Finding(len(world.embeddings_ND), what, recall, float(p50_ms), float(p95_ms), numpy_ms)


def _ids(hits: list[Hit]) -> list[str]:
    return [hit.video_id for hit in hits]
