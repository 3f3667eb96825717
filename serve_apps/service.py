"""The state that all routes share: the serving release, the encoders, thread pools and metrics."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from rayreel.client.messages import Facets
from rayreel.client.operation import Release
from rayreel.errors import RayreelError
from rayreel.experiments.taking_part import TakenPart
from rayreel.index.config import IndexUnavailable
from rayreel.media.pictures import Pictures
from rayreel.recommendation.recommend import PinnedRelease
from rayreel.release.webhook import Deliveries
from rayreel.settings import Settings
from serve_apps.batch import Catalogs
from serve_apps.encoding import Encoding
from serve_apps.following import keep_following
from serve_apps.limits import Blocking
from serve_apps.observe import Metrics
from serve_apps.people import People
from serve_apps.problems import Busy
from serve_apps.scenarios import WatchedScenarios
from serve_apps.serving import Serving
from serve_apps.state import ReleaseState
from serve_apps.writing import Writing

log = logging.getLogger(__name__)

T = TypeVar("T")

# Interval of checks for a queued catalog that can be added.
ADVANCE_S = 3.0


class Service:
    """The parts of one replica. `announce` has every replica look for changes, and returns when all have done so."""

    def __init__(
        self, settings: Settings, encode: Encoding, announce: Callable[[], Awaitable[Any]], job_words: list[str]
    ) -> None:
        self.settings, self.encode, self.announce = settings, encode, announce
        self.metrics = Metrics()
        self.state = ReleaseState(settings, self.metrics, self.prepare)
        self.searching = Blocking("search", settings.serve.search_threads, settings.serve.queued_searches)
        self.metrics.watch("search", lambda: self.searching.ongoing)
        # Calls of the registry and of Ray's job server.
        self.calling = Blocking("call", 4, 32)
        self.people = People(settings)
        self.scenarios = WatchedScenarios(settings.place, settings.serve.refresh_s)
        self.metrics.watch("events", lambda: self.people.writer.rows)
        # When it was last logged that an arm answers as the control.
        self.fallen_back: dict[TakenPart, float] = {}
        self.writing = Writing(settings, self.state, encode, announce)
        self.catalogs = Catalogs(settings.place, job_words, settings.serve.max_queued_jobs)
        self._looking: asyncio.Task[None] | None = None
        self._advancing: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None
        self._guarding: asyncio.Task[None] | None = None
        secret = settings.release.webhook_secret.get_secret_value()
        self.deliveries = Deliveries(secret) if secret else None
        self.promotions: dict[int, Release] = {}
        self.encoder_facts: dict[str, str] = {}
        self.facets: tuple[tuple[int, str, str], Facets] | None = None
        self.pictures = Pictures(settings.place)
        self.no_tower: str | None = "The encoders have not been checked yet."

    async def start(self) -> None:
        """Wait up to `serve.start_wait_s` for a release or the index, then start to look for changes."""
        until = time.monotonic() + self.settings.serve.start_wait_s
        while await self.state.known() is None and not self.state.index_is_up and time.monotonic() < until:
            await asyncio.sleep(0.5)
        self._looking = asyncio.create_task(self.state.keep_looking())
        self._advancing = asyncio.create_task(self._keep_advancing())
        self._following = asyncio.create_task(keep_following(self.settings))
        self._guarding = asyncio.create_task(self._keep_guarding())

    @property
    def is_looking(self) -> bool:
        """Whether the task that looks for changes is running."""
        return self._looking is None or not self._looking.done()

    def stop(self) -> None:
        """Cancel all tasks and close the thread pools."""
        for task in (self._looking, self._advancing, self._following, self._guarding):
            if task is not None:
                task.cancel()
        for pool in (self.searching, self.calling):
            pool.close()
        self.people.close()

    async def _keep_advancing(self) -> None:
        """Submit the next queued catalog whenever the previous one has been added."""
        while True:
            await asyncio.sleep(ADVANCE_S)
            try:
                await self.calling(self.catalogs.advance)
            except Exception:  # the next round tries again
                log.exception("queued catalogs could not be submitted")

    async def _keep_guarding(self) -> None:
        """Check the guardrails of experiments from time to time."""
        while True:
            await asyncio.sleep(self.settings.recommend.guardrails_s)
            try:
                if experiments := await self.scenarios.refresh():
                    await self.people.guard(self.state.current.live, experiments)
            except Exception:  # the next round tries again
                log.exception("the guardrails of experiments could not be checked")

    async def prepare(self, version: int) -> None:
        """Prepare a switch to a release."""
        self.promotions = {}
        await self.load_tower(version, everywhere=True)

    async def load_tower(self, version: int, *, everywhere: bool = False) -> None:
        """Have a replica of the encoders, or each, load a release's encoders and tower. Queries by id work without."""
        describe = self.encode.everywhere if everywhere else self.encode
        try:
            async with asyncio.timeout(self.settings.serve.tower_wait_s):
                self.encoder_facts, self.no_tower = await describe("describe", version), None
        except Busy:  # says nothing about the tower
            return
        except (RayreelError, RayError, RayServeException, TimeoutError) as error:
            log.warning("the tower of release %d could not be loaded: %s", version, error)
            self.no_tower = "The encoders cannot load the tower of the serving release."

    async def search(self, serving: Serving, find: Callable[[PinnedRelease], T]) -> T:
        """Call `find` with the release in a thread and return its result. Raises Busy, Unavailable."""
        index = await self.state.index()
        release = PinnedRelease(serving.live, index, serving.collection, self.settings.recommend, self.scenarios.known)
        try:
            with self.metrics.stage("milvus"):
                return await self.searching(find, release)
        except IndexUnavailable:
            self.state.lost_index()
            raise


async def _of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


CurrentService = Annotated[Service, Depends(_of)]
