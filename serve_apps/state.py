"""Which release serves, and what is known of it: looked at every second, and whenever somebody has written."""

import asyncio
import logging
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from rayreel.index.collection import collection_name, version_of
from rayreel.index.config import IndexUnavailable
from rayreel.index.connect import MilvusClient, connect
from rayreel.index.search import NoRelease, VideoIndex
from rayreel.recommend.cache import AnswerCache
from rayreel.recommend.live import Live
from rayreel.release.following import FollowStatus, State, read_following
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
# The reconciler writes every 15 s; while MLflow is slow to answer, more rarely.
SILENT_S = 180.0
# What a service that has no release yet should say of the champion.
_TOLD = (State.FOLLOWING, State.REFUSED, State.FAILED)


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
        self._following: FollowStatus | None = None
        self._heard = time.monotonic()
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

    @property
    def following(self) -> FollowStatus | None:
        """How far the release follows MLflow's champion; None before anybody has looked."""
        config, found = self._settings.release, self._following
        if config.follow == "off":
            return FollowStatus(State.OFF, "off", reason="release.follow is off: MLflow's champion is not followed.")
        if found is not None and time.monotonic() - self._heard > SILENT_S:
            reason = f"Nobody has looked since {found.looked_at}. The service starts the reconciler again."
            return replace(found, state=State.STOPPED, reason=reason)
        return found

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
        await self._hear()
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

    async def _hear(self) -> None:
        """What the reconciler has found; what cannot be read is as it was."""
        try:
            found = await asyncio.to_thread(read_following, self._settings.place)
        except OSError as error:
            log.warning("the state of following cannot be read: %s", error)
            return
        if found != self._following:
            self._following, self._heard = found, time.monotonic()

    async def _version(self) -> int | None:
        """The release behind the alias; while Milvus is away, the one known last."""
        try:
            version = await asyncio.to_thread(self._behind_alias)
        except NoRelease as error:
            found = self.following
            self._why_not = f"{error} {found.reason}" if found is not None and found.state in _TOLD else str(error)
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
