"""Search the index of one release."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymilvus import MilvusClient

from rayreel.errors import RayreelError
from rayreel.index.alias import alias_target
from rayreel.index.collection import id_list, untyped
from rayreel.index.config import IndexConfig
from rayreel.index.filters import Filter, to_milvus
from rayreel.index.retry import call_milvus

Vector = NDArray[np.float32]

COLUMNS = ["title", "category", "tags", "extra"]
# Milvus' limit of hits per search.
MAX_HITS = 16_384
WIDEST_EF = 32_768


class NoRelease(RayreelError):
    """No release has been promoted yet."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A video found. `score` is its cosine similarity to the query in [-1, 1], or the BM25 score in a search by words.

    `extra` has the catalog's extra columns with created_at (epoch seconds) and duration_s.
    """

    video_id: str
    score: float
    title: str
    category: str
    tags: tuple[str, ...] = ()
    extra: dict[str, Any] | None = None


class VideoIndex:
    """Searches the release that an alias points to, or one fixed collection.

    Every method takes `collection`, as returned by `collection()`, so that all calls of one request use one release
    even if the alias moves. Without it, each call follows the alias.
    """

    def __init__(self, client: MilvusClient, config: IndexConfig, collection: str | None = None) -> None:
        self._client = client
        self._config = config
        self._collection = collection

    def collection(self) -> str:
        """Return the name of the current collection.

        Raises:
            NoRelease: the alias does not exist.
        """
        target = self._collection or self._call(alias_target, self._client, self._config.alias)
        if target is None:
            raise NoRelease(f"Alias {self._config.alias!r} does not exist: no release has been promoted. Promote one.")
        return str(target)

    def count(self, *, collection: str | None = None) -> int:
        """Return the number of videos."""
        answer = self._call(self._client.query, collection or self.collection(), output_fields=["count(*)"])
        return int(answer[0]["count(*)"])

    def get(self, video_id: str, *, collection: str | None = None) -> Vector | None:
        """Return a video's embedding, float32 [dim], or None if the release does not have it."""
        return self.vectors([video_id], collection=collection).get(video_id)

    def vectors(self, ids: Iterable[str], *, collection: str | None = None) -> dict[str, Vector]:
        """Return the embeddings, float32 [dim], of the given videos; those not in the release are left out."""
        wanted = list(ids)
        pinned = collection or self.collection()
        found: dict[str, Vector] = {}
        for start in range(0, len(wanted), self._config.exact_rows):
            condition = f"video_id in {id_list(wanted[start : start + self._config.exact_rows])}"
            rows = self._call(self._client.query, pinned, filter=condition, output_fields=["video_id", "embedding"])
            found |= {row["video_id"]: np.asarray(row["embedding"], dtype=np.float32) for row in rows}
        return found

    def search(
        self,
        embedding: Vector,
        top_k: int,
        exclude: Sequence[str] = (),
        *,
        filter: Filter | None = None,
        collection: str | None = None,
    ) -> list[Hit]:
        """Return the `top_k` most similar videos that pass the filter, best first, or all if fewer pass.

        Args:
            embedding: float32 [dim], encoded by the tower of the same release.
            top_k: number of videos; together with `exclude` at most 16,384 (Milvus' limit).
            exclude: ids to leave out.
            filter: condition on the videos.
            collection: the collection to search; by default the alias'.
        """
        pinned = collection or self.collection()
        # Fetching more and dropping the excluded is exact, and cheaper than an expression evaluated for every row.
        room = min(top_k + len(exclude), MAX_HITS)
        expression = to_milvus(filter) if filter else ""
        ef = max(self._config.ef_search, room) * (self._config.filtered_ef if filter else 1)
        hits = _without(exclude, self._nearest(embedding, room, expression, ef, pinned))
        if filter and len(hits) < top_k:
            hits = _without(exclude, self._exact(embedding, room, expression, pinned))
        return hits[:top_k]

    def by_words(
        self,
        text: str,
        top_k: int,
        exclude: Sequence[str] = (),
        *,
        filter: Filter | None = None,
        collection: str | None = None,
    ) -> list[Hit]:
        """Return the videos with words of `text` in title, description or transcript, by their BM25 score."""
        answers = self._call(
            self._client.search,
            collection or self.collection(),
            data=[text],
            anns_field="sparse",
            filter=to_milvus(filter) if filter else "",
            limit=min(top_k + len(exclude), MAX_HITS),
            output_fields=COLUMNS,
            search_params={"metric_type": "BM25"},
        )
        return _without(exclude, map(_hit, answers[0]))[:top_k]

    def _nearest(self, embedding: Vector, limit: int, expression: str, ef: int, collection: str) -> list[Hit]:
        answers = self._call(
            self._client.search,
            collection,
            data=[np.asarray(embedding, dtype=np.float32)],
            anns_field="embedding",
            filter=expression,
            limit=limit,
            output_fields=COLUMNS,
            search_params={"params": {"ef": ef}},
        )
        return [_hit(hit) for hit in answers[0]]

    def _exact(self, embedding: Vector, limit: int, expression: str, collection: str) -> list[Hit]:
        """Compare every row that passes; if there are too many, run HNSW with the most candidates."""
        columns, most = ["video_id", "embedding", *COLUMNS], self._config.exact_rows
        rows = self._call(self._client.query, collection, filter=expression, output_fields=columns, limit=most + 1)
        if not rows:
            return []
        if len(rows) > most:
            return self._nearest(embedding, limit, expression, WIDEST_EF, collection)
        rows_ND = np.asarray([row["embedding"] for row in rows], dtype=np.float32)
        query_D = np.asarray(embedding, dtype=np.float32)
        scores_N = rows_ND @ query_D / (np.linalg.norm(rows_ND, axis=1) * np.linalg.norm(query_D))
        order = np.argsort(-scores_N, kind="stable")[:limit]
        return [_hit({**rows[n], "distance": float(scores_N[n])}) for n in order]

    def _call(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:  # noqa: ANN401
        return call_milvus(self._config.timeout_s, call, *args, timeout=self._config.timeout_s, **options)


def _without(ids: Iterable[str], hits: Iterable[Hit]) -> list[Hit]:
    excluded = set(ids)
    return [hit for hit in hits if hit.video_id not in excluded]


def _hit(row: dict[str, Any]) -> Hit:
    extra = untyped(row["extra"])
    return Hit(row["video_id"], row["distance"], row["title"], row["category"], tuple(row["tags"]), extra)
