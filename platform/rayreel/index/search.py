"""Nearest videos, from one release."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray
from pymilvus import MilvusClient, MilvusException
from pymilvus.client.types import Status
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential

from rayreel.errors import RayreelError
from rayreel.index.build import alias_target
from rayreel.index.collection import id_list, version_of
from rayreel.index.config import IndexConfig, IndexUnavailable

Vector = NDArray[np.float32]


def _is_disconnected(error: BaseException) -> bool:
    return isinstance(error, MilvusException) and error.code in (Status.CONNECT_FAILED, grpc.StatusCode.UNAVAILABLE)


class NoRelease(RayreelError):
    """Nothing has been promoted yet."""


class UnknownVideo(RayreelError):
    """An id that the release does not hold."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A video found, with its cosine similarity to the query in [-1, 1]."""

    video_id: str
    score: float
    title: str
    category: str


class VideoIndex:
    """Searches the release behind an alias, or the one collection it is bound to.

    Every call takes `collection`: what `collection()` returned once, so that all calls of one request see one release
    while the alias moves. Without it each call follows the alias.
    """

    def __init__(self, client: MilvusClient, config: IndexConfig, collection: str | None = None) -> None:
        self._client = client
        self._config = config
        self._bound = collection
        # pymilvus tries to reconnect once and gives up; a server that restarts takes a few seconds.
        self._through_restarts = Retrying(
            retry=retry_if_exception(_is_disconnected),
            stop=stop_after_delay(config.timeout_s),
            wait=wait_exponential(0.05, max=1),
            reraise=True,
        )

    def collection(self) -> str:
        """Return the name of the collection that answers now.

        Raises:
            NoRelease: the alias does not exist.
        """
        target = self._bound or self._ask(alias_target, self._client, self._config.alias)
        if target is None:
            raise NoRelease(f"No release behind the alias {self._config.alias!r}: nothing is promoted. Promote one.")
        return str(target)

    def release(self) -> int:
        """Return the tower version that queries have to be encoded with."""
        return version_of(self.collection())

    def count(self, *, collection: str | None = None) -> int:
        """Return the number of videos."""
        answer = self._ask(self._client.query, collection or self.collection(), output_fields=["count(*)"])
        return int(answer[0]["count(*)"])

    def get(self, video_id: str, *, collection: str | None = None) -> Vector | None:
        """Return a video's embedding, float32 [dim], or None where the release does not hold it."""
        rows = self._ask(
            self._client.query,
            collection or self.collection(),
            filter=f"video_id in {id_list([video_id])}",
            output_fields=["embedding"],
        )
        return np.asarray(rows[0]["embedding"], dtype=np.float32) if rows else None

    def search(
        self, embedding: Vector, top_k: int, exclude: Sequence[str] = (), *, collection: str | None = None
    ) -> list[Hit]:
        """Return the `top_k` most similar videos that are not in `exclude`, best first; fewer only when there are.

        Args:
            embedding: float32 [dim], encoded by the tower of the same release.
            top_k: how many, at most 16 384 (Milvus' limit).
            exclude: ids never to return.
            collection: the release to ask; the alias' when absent.
        """
        # HNSW gathers `ef` candidates and filters after: without room for the excluded ones, results run short.
        room = top_k + len(exclude)
        answers = self._ask(
            self._client.search,
            collection or self.collection(),
            data=[np.asarray(embedding, dtype=np.float32)],
            anns_field="embedding",
            filter=f"video_id not in {id_list(exclude)}" if exclude else "",
            limit=top_k,
            output_fields=["title", "category"],
            search_params={"params": {"ef": max(self._config.ef_search, room)}},
        )
        return [Hit(hit["video_id"], hit["distance"], hit["title"], hit["category"]) for hit in answers[0]]

    def similar(
        self, video_id: str, top_k: int, exclude: Sequence[str] = (), *, collection: str | None = None
    ) -> list[Hit]:
        """Return the `top_k` videos most similar to one, without itself.

        Raises:
            UnknownVideo: the release does not hold the video.
        """
        pinned = collection or self.collection()
        embedding = self.get(video_id, collection=pinned)
        if embedding is None:
            raise UnknownVideo(f"{video_id!r} is not in {pinned}. Extract and index it, or query by its file instead.")
        return self.search(embedding, top_k, [video_id, *exclude], collection=pinned)

    def _ask(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:  # noqa: ANN401
        try:
            return self._through_restarts(call, *args, **options, timeout=self._config.timeout_s)
        except (MilvusException, grpc.RpcError) as error:
            if isinstance(error, MilvusException) and not _is_disconnected(error):
                raise
            raise IndexUnavailable(
                f"Milvus did not answer within {self._config.timeout_s:g} s: {error}. Restart it or raise timeout_s; "
                "with Milvus Lite, the cause is in the Ray logs of actor MilvusLiteOwner."
            ) from error
