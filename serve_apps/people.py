"""The event store of a replica: writes in groups, reads in threads."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from rayreel.client.events import DeletionReceipt
from rayreel.events.database import Database
from rayreel.events.forget import forget
from rayreel.events.popular import popular_videos
from rayreel.events.write import AnswerRow, EventRow, Written
from rayreel.events.writer import EventWriter
from rayreel.experiments.guard import guard
from rayreel.experiments.plan import Experiment
from rayreel.recommendation.config import RecommendConfig
from rayreel.recommendation.live import Live
from rayreel.recommendation.popular import Popularity
from rayreel.release.process import who
from rayreel.settings import Settings
from serve_apps.limits import Blocking

T = TypeVar("T")
P = ParamSpec("P")


class People:
    """What is kept of people. Opens the database at the first request that needs it."""

    def __init__(self, settings: Settings) -> None:
        self._place = settings.place
        self._database = Database(settings.events, settings.place)
        self.writer = EventWriter(self._database, settings.events)
        self._popularity: Popularity | None = None
        self._counting = asyncio.Lock()
        self._threads = Blocking("people", settings.serve.search_threads, settings.serve.queued_searches)

    async def add(self, events: Sequence[EventRow], answer: AnswerRow | None = None) -> Written:
        """Store events, and an answer for a known person. They are on disk when this returns.

        Raises QueueFull, EventsUnavailable, StorageFull.
        """
        return await asyncio.wrap_future(self.writer.add(events, answer))

    async def read(self, find: Callable[Concatenate[Connection, P], T], *args: P.args, **options: P.kwargs) -> T:
        """Call `find` with a connection in a thread and return its result. Raises Busy, EventsUnavailable."""
        return await self._threads(self._read, lambda connection: find(connection, *args, **options))

    async def popularity(self, config: RecommendConfig) -> Popularity:
        """Return how popular videos are, counted again every `recommend.popular_refresh_s`."""
        async with self._counting:
            if self._popularity is None or time.time() - self._popularity.at > config.popular_refresh_s:
                shares = await self.read(popular_videos, config.popular_half_life_s)
                self._popularity = Popularity(shares, time.time(), config)
        return self._popularity

    async def forget(self, user_id: str) -> DeletionReceipt:
        """Delete everything that is kept of a user. Once started, it is completed even if the client disconnects."""
        work = self._threads(forget, self._database, self._place, user_id)
        return await asyncio.shield(asyncio.ensure_future(work))

    async def guard(self, live: Live, experiments: Mapping[str, Experiment]) -> None:
        """End the arms of experiments that are out of bounds. Raises Busy, EventsUnavailable."""
        await self._threads(guard, self._database, live, experiments, who())

    def close(self) -> None:
        """Write what waits, and close the database."""
        self.writer.close()
        self._threads.close()
        self._database.close()

    def _read(self, find: Callable[[Connection], T]) -> T:
        with self._database.reading() as connection:
            return find(connection)
