"""Which release serves, and what is known of it: looked at every second, and whenever somebody has written."""

import asyncio
import logging
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rayreel.index.collection import collection_name, version_of
from rayreel.index.config import IndexUnavailable
from rayreel.index.connect import MilvusClient, connect
from rayreel.index.search import NoRelease, VideoIndex
from rayreel.recommend.cache import AnswerCache
from rayreel.recommend.live import Live
from rayreel.release.rows import ReleaseRows
from rayreel.release.snapshot import load_snapshot, snapshot_pointer
from rayreel.settings import Settings
from serve_apps.observe import Metrics
from serve_apps.problems import Unavailable

log = logging.getLogger(__name__)

# Looking whether Milvus is there must not take as long as a search may wait for it.
LOOK_S = 2.0
# A request waits so long for an index that is away before it is told to come again: a restart takes a few seconds.
HOLD_S = 5.0


@dataclass(frozen=True, slots=True)
class Serving:
    """One release as it is now. A request takes it once and stays with it to the end."""

    version: int
    collection: str
    live: Live


class ReleaseState:
    """What this replica serves.

    `prepare` is awaited before a release is switched to: it gets its tower loaded, so that no query waits for that.
    """

    def __init__(self, settings: Settings, metrics: Metrics, prepare: Callable[[int], Awaitable[None]]) -> None:
        self._settings, self._metrics, self._prepare = settings, metrics, prepare
        self._cache = Path(tempfile.gettempdir()) / "rayreel-snapshots"
        self._client: MilvusClient | None = None
        self._serving: Serving | None = None
        self._why_not = "The service has only just started."
        self._index_up = asyncio.Event()
        self._looking = asyncio.Lock()
        self.answers = AnswerCache()

    @property
    def current(self) -> Serving:
        """What serves. Raises Unavailable before there is anything."""
        if self._serving is None:
            raise Unavailable(self._why_not)
        return self._serving

    @property
    def index_is_up(self) -> bool:
        """Whether Milvus answered when it was asked last."""
        return self._index_up.is_set()

    async def index(self) -> VideoIndex:
        """The index, waited for while it restarts. Raises Unavailable when it stays away."""
        if not self._index_up.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(HOLD_S):
                    await self._index_up.wait()
        if self._client is None or not self._index_up.is_set():
            raise Unavailable("The index does not answer.")
        return VideoIndex(self._client, self._settings.index)

    @property
    def client(self) -> MilvusClient:
        """The connection to Milvus. Raises Unavailable before there is one."""
        if self._client is None:
            raise Unavailable("The index does not answer.")
        return self._client

    def lost_index(self) -> None:
        """Somebody's call found Milvus away: requests wait from now on until it is seen again."""
        self._index_up.clear()
        self._metrics.index_up(up=False)

    async def refresh(self) -> Serving:
        """Look now: when this returns, all that was written before the call is known here. Raises Unavailable."""
        async with self._looking:
            await self._look()
        return self.current

    async def known(self) -> int | None:
        """Look now; the release that serves, None without one."""
        try:
            return (await self.refresh()).version
        except Unavailable:
            return None

    async def keep_looking(self) -> None:
        """Look every `serve.refresh_s` for as long as the replica lives."""
        while True:
            await asyncio.sleep(self._settings.serve.refresh_s)
            try:
                async with self._looking:
                    await self._look()
            except Exception:  # whatever it is, the release known last goes on serving
                log.exception("looking for changes failed")

    async def _look(self) -> None:
        version = await self._version()
        if version is None:
            return
        found = await asyncio.to_thread(self._load, version)
        if found is None:
            self._why_not = f"Release {version} has no snapshot yet."
            return
        if self._serving is None or self._serving.version != found.version:
            await self._prepare(found.version)
            log.info("release %d serves, %d videos", found.version, len(found.live))
        self._serving = found
        self.answers.switch(found.live.state)
        self._metrics.serving(found.version, len(found.live))

    async def _version(self) -> int | None:
        """The release behind the alias; while Milvus is away, the one known last."""
        try:
            version = await asyncio.to_thread(self._behind_alias)
        except NoRelease as error:
            self._why_not = str(error)
            self._serving = None
            self._see_index()
            return None
        except IndexUnavailable as error:
            if self._index_up.is_set() or self._serving is None:
                log.warning("the index is away: %s", error)
            self.lost_index()
            self._why_not = "The index does not answer."
            return None if self._serving is None else self._serving.version
        self._see_index()
        return version

    def _see_index(self) -> None:
        self._index_up.set()
        self._metrics.index_up(up=True)

    def _behind_alias(self) -> int:
        config = self._settings.index.model_copy(update={"timeout_s": LOOK_S})
        if self._client is None:
            self._client = connect(config, self._settings.milvus_dir)
        return version_of(VideoIndex(self._client, config).collection())

    def _load(self, version: int) -> Serving | None:
        """The release with all its changes; None when it has no snapshot. Blocks."""
        storage, before = self._settings.place, self._serving
        pointer = snapshot_pointer(storage, version)
        if pointer is None:
            return None
        if before is not None and before.version == version and before.live.snapshot.name == pointer["name"]:
            live = before.live
        else:
            live = Live.of(load_snapshot(storage, version, self._cache))
        live = live.with_changes(ReleaseRows(storage, version).read(after=live.upto))
        if before is not None and live is before.live:
            return before
        return Serving(version, collection_name(version), live)
