"""The search deployment: one release's index, asked by id or by embedding."""

import asyncio

import numpy as np
from numpy.typing import NDArray
from ray import serve

from rayreel.index.connect import connect
from rayreel.index.search import Hit, VideoIndex
from rayreel.settings import Settings


@serve.deployment(name="search")
class Search:
    """Holds a connection to Milvus. pymilvus blocks, so every call runs in a thread."""

    def __init__(self, settings: Settings) -> None:
        self.index = VideoIndex(connect(settings.index, settings.milvus_dir), settings.index)

    async def collection(self) -> str:
        """The collection of the release that serves now."""
        return await asyncio.to_thread(self.index.collection)

    async def count(self, collection: str) -> int:
        """How many videos it holds."""
        return await asyncio.to_thread(self.index.count, collection=collection)

    async def similar(self, video_id: str, top_k: int, collection: str) -> list[Hit]:
        """Videos like one of the index, without itself."""
        return await asyncio.to_thread(self.index.similar, video_id, top_k, collection=collection)

    async def nearest(self, embedding: NDArray[np.float32], top_k: int, collection: str) -> list[Hit]:
        """Videos near an embedding of the same release."""
        return await asyncio.to_thread(self.index.search, embedding, top_k, collection=collection)
