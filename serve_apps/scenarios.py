"""The scenarios and experiments of a replica, read again when their files change."""

import asyncio
import logging
import time
from collections.abc import Mapping

from rayreel.client.messages import RecommendOptions
from rayreel.experiments.plan import BadExperiments, Experiment, read_experiments
from rayreel.recommendation.query import Options
from rayreel.recommendation.recommend import options_of
from rayreel.recommendation.scenarios import BadScenarios, Scenario, read_scenarios
from rayreel.settings import Settings
from rayreel.storage import Storage

log = logging.getLogger(__name__)


class WatchedScenarios:
    """Scenarios and experiments, read again at requests that name one, every `refresh_s` seconds, in one event loop.

    If a file becomes invalid, the last valid scenarios and experiments are used, and an error is logged.
    """

    def __init__(self, storage: Storage, refresh_s: float) -> None:
        self._storage, self._refresh_s = storage, refresh_s
        self._reading, self._read_at = asyncio.Lock(), float("-inf")
        self.known: Mapping[str, Scenario] = {}
        self.experiments: Mapping[str, Experiment] = {}

    async def options(self, query: RecommendOptions, settings: Settings) -> Options:
        """Return the options of a request, with the current scenario. Raises BadFilter, BadQuery."""
        if query.scenario is not None:
            await self.refresh()
        return options_of(query, settings.recommend, self.known)

    async def refresh(self) -> Mapping[str, Experiment]:
        """Read the files again if it is time; return the experiments."""
        async with self._reading:
            if time.monotonic() - self._read_at < self._refresh_s:
                return self.experiments
            try:
                self.known, self.experiments = await asyncio.to_thread(self._read)
            except (BadScenarios, BadExperiments, OSError) as error:
                log.error("scenarios or experiments cannot be read: %s", error)
            self._read_at = time.monotonic()
        return self.experiments

    def _read(self) -> tuple[Mapping[str, Scenario], Mapping[str, Experiment]]:
        scenarios = read_scenarios(self._storage)
        return scenarios, read_experiments(self._storage, scenarios)
