"""The scenarios of a replica, read again when their file changes."""

import asyncio
import logging
import time
from collections.abc import Mapping

from rayreel.client.messages import RecommendOptions
from rayreel.recommendation.query import Options
from rayreel.recommendation.recommend import options_of
from rayreel.recommendation.scenarios import BadScenarios, Scenario, read_scenarios
from rayreel.settings import Settings
from rayreel.storage import Storage

log = logging.getLogger(__name__)


class WatchedScenarios:
    """Scenarios, read again at requests that name one, every `refresh_s` seconds. Belongs to one event loop.

    If the file becomes invalid, the last valid scenarios are used, and an error is logged.
    """

    def __init__(self, storage: Storage, refresh_s: float) -> None:
        self._storage, self._refresh_s = storage, refresh_s
        self._reading, self._read_at = asyncio.Lock(), float("-inf")
        self.known: Mapping[str, Scenario] = {}

    async def options(self, query: RecommendOptions, settings: Settings) -> Options:
        """Return the options of a request, with the current scenario. Raises BadFilter, BadQuery."""
        if query.scenario is not None:
            await self._refresh()
        return options_of(query, settings.recommend, self.known)

    async def _refresh(self) -> None:
        async with self._reading:
            if time.monotonic() - self._read_at < self._refresh_s:
                return
            try:
                self.known = await asyncio.to_thread(read_scenarios, self._storage)
            except (BadScenarios, OSError) as error:
                log.error("the scenarios cannot be read: %s", error)
            self._read_at = time.monotonic()
