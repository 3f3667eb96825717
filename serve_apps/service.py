"""What every route works with: the release that serves, the encoders, threads for what blocks, and the metrics."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from rayreel.client.messages import Release
from rayreel.errors import RayreelError
from rayreel.index.config import IndexUnavailable
from rayreel.index.search import VideoIndex
from rayreel.release.webhook import Deliveries
from rayreel.settings import Settings
from serve_apps.batch import Catalogs, from_outside
from serve_apps.blocking import Blocking
from serve_apps.encoding import Encoding
from serve_apps.following import keep_following
from serve_apps.observe import Metrics
from serve_apps.problems import Busy
from serve_apps.state import ReleaseState
from serve_apps.writing import Writing

log = logging.getLogger(__name__)

T = TypeVar("T")

# A search in Milvus Lite takes 10 to 40 ms of one core; it works on ten at once.
SEARCH_THREADS, SEARCHES_WAITING = 8, 128
# Longest that a switch of releases waits for the new tower.
PREPARE_S = 60.0
# How often replicas look whether a catalog that waits can be added.
ADVANCE_S = 3.0
# A replica that has nothing to answer from helps nobody: it waits so long for Milvus before it takes requests.
START_S = 60.0


class Service:
    """One replica's parts. `announce` tells every replica to look for changes, and returns when all have."""

    def __init__(
        self, settings: Settings, encode: Encoding, announce: Callable[[], Awaitable[Any]], job_words: list[str]
    ) -> None:
        self.settings, self.encode = settings, encode
        self.metrics = Metrics()
        self.state = ReleaseState(settings, self.metrics, self.prepare)
        self.searching = Blocking("search", SEARCH_THREADS, SEARCHES_WAITING)
        self.metrics.watch("search", lambda: self.searching.ongoing)
        # Registry and jobs: databases and HTTP that answer in their own time.
        self.talking = Blocking("talk", 4, 32)
        self.writing = Writing(settings, self.state, encode, announce)
        words = [*job_words, *from_outside()]
        self.catalogs = Catalogs(settings.place, words, settings.serve.max_queued_jobs)
        self._looking: asyncio.Task[None] | None = None
        self._advancing: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None
        secret = settings.release.webhook_secret.get_secret_value()
        self.deliveries = Deliveries(secret) if secret else None
        self.promotions: dict[int, Release] = {}
        self.facts: dict[str, str] = {}
        self.no_tower: str | None = "The encoders have not been asked yet."

    async def start(self) -> None:
        """Take requests with something to answer from, if that is to be had in time; then keep looking for changes."""
        until = time.monotonic() + START_S
        while await self.state.known() is None and not self.state.index_is_up and time.monotonic() < until:
            await asyncio.sleep(0.5)
        self._looking = asyncio.create_task(self.state.keep_looking())
        self._advancing = asyncio.create_task(self._keep_advancing())
        self._following = asyncio.create_task(keep_following(self.settings))

    @property
    def is_looking(self) -> bool:
        """Whether changes are being followed."""
        return self._looking is None or not self._looking.done()

    def stop(self) -> None:
        """Let go of threads."""
        for task in (self._looking, self._advancing, self._following):
            if task is not None:
                task.cancel()
        for pool in (self.searching, self.talking):
            pool.close()

    async def _keep_advancing(self) -> None:
        """Start the catalog that waits when the one before it has been added."""
        while True:
            await asyncio.sleep(ADVANCE_S)
            try:
                await self.talking(self.catalogs.advance)
            except Exception:  # whatever it is, the catalogs wait for the next look
                log.exception("looking for catalogs to add failed")

    async def prepare(self, version: int) -> None:
        """A release is about to be switched to."""
        self.promotions = {}
        await self.ask_for_tower(version)

    async def ask_for_tower(self, version: int) -> None:
        """Let the encoders load a release's tower. Without it, queries by id are answered all the same."""
        try:
            async with asyncio.timeout(PREPARE_S):
                self.facts, self.no_tower = await self.encode("describe", version), None
        except Busy:  # says nothing of towers
            return
        except (RayreelError, RayError, RayServeException, TimeoutError) as error:
            log.warning("no tower of release %d: %s", version, error)
            self.no_tower = "The encoders cannot encode for the release that serves."

    async def search(self, find: Callable[[VideoIndex], T]) -> T:
        """What `find` finds in the index, in a thread. Raises Busy, Unavailable."""
        index = await self.state.index()
        try:
            with self.metrics.stage("milvus"):
                return await self.searching(find, index)
        except IndexUnavailable:
            self.state.lost_index()
            raise


async def _of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Asked = Annotated[Service, Depends(_of)]
