"""The state of the serving release, updated every `serve.refresh_s` seconds and after every write."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import replace
from threading import Lock

from cachetools import LRUCache

from rayreel.index.collection import collection_name, version_of
from rayreel.index.config import IndexUnavailable
from rayreel.index.connect import MilvusClient, connect
from rayreel.index.search import NoRelease, VideoIndex
from rayreel.recommendation.live import load_live
from rayreel.release.following import FollowStatus, State, read_following
from rayreel.settings import Settings
from serve_apps.beside import BesideReleases
from serve_apps.observe import Metrics
from serve_apps.problems import Unavailable
from serve_apps.serving import Serving

log = logging.getLogger(__name__)
NO_INDEX = "The index does not answer. Try again later."
# Shorter than `serve.index_wait_s`, so that a waiting request sees the result of a check.
LOOK_S = 2.0
# The reconciler writes its status every 15 s or `release.follow_every_s`, less often while MLflow is slow.
SILENT_S = 180.0
# States that explain why no release serves yet.
_EXPLAINED = (State.FOLLOWING, State.REFUSED, State.FAILED)
# An entry's key, its slots in the tables and Python's own objects.
ENTRY_BYTES = 400


class ReleaseState:
    """The release that this replica serves.

    `prepare` is awaited before a switch to another release; it loads the tower, so that no query waits for that.
    """

    def __init__(self, settings: Settings, metrics: Metrics, prepare: Callable[[int], Awaitable[None]]) -> None:
        self._settings, self._metrics, self._prepare = settings, metrics, prepare
        self._client: MilvusClient | None = None
        self._serving: Serving | None = None
        self._why_not = "The service is starting. Try again in a few seconds."
        self._following: FollowStatus | None = None
        self._looked_at: float | None = None
        self._status_at = time.monotonic()
        self._index_up = asyncio.Event()
        self._looking = asyncio.Lock()
        self.answers = AnswerCache(settings.serve.cache_bytes)
        self._beside = BesideReleases(settings, lambda: self.client)

    @property
    def current(self) -> Serving:
        """The serving release. Raises Unavailable if there is none."""
        if self._serving is None:
            raise Unavailable(self._why_not)
        return self._serving

    async def at(self, version: int | None, *, of_arm: bool = False) -> Serving:
        """Return the release that a request names, or an arm of an experiment; by default the serving one.

        Raises ReleaseNotKept, Busy, IndexUnavailable, Unavailable.
        """
        current = self.current
        if version is None or version == current.version:
            return current
        return await self._beside.at(version, current, of_arm=of_arm)

    def ready(self, version: int | None) -> Serving | None:
        """Return the release that a request names if that needs only memory, else None. Raises Unavailable."""
        current = self.current
        if version is None or version == current.version:
            return current
        return self._beside.ready(version, current)

    async def kept(self) -> list[int]:
        """Return the versions that requests may name. Raises IndexUnavailable, Unavailable."""
        serving = self.current.version
        return sorted({serving, *(await self._beside.kept())}) if self._settings.serve.beside_releases else [serving]

    @property
    def index_is_up(self) -> bool:
        """Whether Milvus answered the last call."""
        return self._index_up.is_set()

    @property
    def looked_s(self) -> float | None:
        """Seconds since this replica last looked for changes successfully; None before the first time."""
        return None if self._looked_at is None else time.monotonic() - self._looked_at

    @property
    def following(self) -> FollowStatus | None:
        """The reconciler's status; None if it has not written one yet."""
        config, found = self._settings.release, self._following
        if config.follow == "off":
            return FollowStatus(State.OFF, "off", reason="release.follow is off: MLflow's champion is not followed.")
        if found is not None and time.monotonic() - self._status_at > max(SILENT_S, 3 * config.follow_every_s):
            reason = f"The reconciler has reported nothing since {found.looked_at}. The service restarts it."
            return replace(found, state=State.STOPPED, reason=reason)
        return found

    async def index(self) -> VideoIndex:
        """Return the index, waiting up to `serve.index_wait_s` while it restarts. Raises Unavailable."""
        if not self._index_up.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.serve.index_wait_s):
                    await self._index_up.wait()
        if self._client is None or not self._index_up.is_set():
            raise Unavailable(NO_INDEX)
        return VideoIndex(self._client, self._settings.index)

    @property
    def client(self) -> MilvusClient:
        """The connection to Milvus. Raises Unavailable if there is none yet."""
        if self._client is None:
            raise Unavailable(NO_INDEX)
        return self._client

    def lost_index(self) -> None:
        """Record that a call could not reach Milvus. Requests wait until a check succeeds."""
        self._index_up.clear()
        self._metrics.index_up(up=False)

    async def refresh(self) -> Serving:
        """Look for changes now. The result includes all earlier writes. Raises Unavailable."""
        async with self._looking:
            await self._look()
        return self.current

    async def known(self) -> int | None:
        """Look for changes now and return the version that serves, None without one."""
        try:
            return (await self.refresh()).version
        except Unavailable:
            return None

    async def keep_looking(self) -> None:
        """Look for changes every `serve.refresh_s` seconds until cancelled."""
        while True:
            await asyncio.sleep(self._settings.serve.refresh_s)
            try:
                async with self._looking:
                    await self._look()
            except Exception:  # the last known release keeps serving
                log.exception("looking for changes failed")

    async def _look(self) -> None:
        await self._read_following()
        version = await self._version()
        if version is None:
            return
        found = await asyncio.to_thread(self._load, version)
        if found is None:
            self._why_not = f"Release {version} has no snapshot yet. Try again later."
            return
        if self._serving is None or self._serving.version != found.version:
            await self._prepare(found.version)
            log.info("release %d serves, %d videos", found.version, len(found.live))
        self._serving, self._looked_at = found, time.monotonic()
        self.answers.switch(found.live.state)
        self._metrics.serving(found.version, len(found.live))
        if self.index_is_up:
            await self._beside.refresh(found)

    async def _read_following(self) -> None:
        """Read the reconciler's status; keep the last one if it cannot be read."""
        try:
            found = await asyncio.to_thread(read_following, self._settings.place)
        except OSError as error:
            log.warning("the reconciler's status cannot be read: %s", error)
            return
        if found != self._following:
            self._following, self._status_at = found, time.monotonic()

    async def _version(self) -> int | None:
        """Return the version that the alias points at; the last known one while Milvus does not answer."""
        try:
            version = await asyncio.to_thread(self._read_alias)
        except NoRelease as error:
            found = self.following
            self._why_not = f"{error} {found.reason}" if found is not None and found.state in _EXPLAINED else str(error)
            self._serving = None
            self._found_index()
            return None
        except IndexUnavailable as error:
            if self._index_up.is_set() or self._serving is None:
                log.warning("the index does not answer: %s", error)
            self.lost_index()
            self._why_not = NO_INDEX
            return None if self._serving is None else self._serving.version
        self._found_index()
        return version

    def _found_index(self) -> None:
        self._index_up.set()
        self._metrics.index_up(up=True)

    def _read_alias(self) -> int:
        config = self._settings.index.model_copy(update={"timeout_s": LOOK_S})
        if self._client is None:
            self._client = connect(config, self._settings.milvus_dir)
        return version_of(VideoIndex(self._client, config).collection())

    def _load(self, version: int) -> Serving | None:
        """Return the release with all its changes; None if it has no snapshot. Blocks."""
        before = self._serving
        place, cache_dir = self._settings.place, self._settings.release.snapshot_cache
        live = load_live(place, version, cache_dir, before.live if before else None)
        if live is None:
            return None
        return before if before and live is before.live else Serving(version, collection_name(version), live)


class AnswerCache:
    """Least-recently-used cache of rendered answers for one state of the release. Thread-safe.

    `switch` to another state drops all of them. An answer computed for an earlier state, by a request that was in
    flight during the switch, is not stored.
    """

    def __init__(self, max_bytes: int) -> None:
        self._answers: LRUCache[Hashable, bytes] = LRUCache(max_bytes, _size)
        self._state: Hashable = None
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._answers)

    def switch(self, state: Hashable) -> None:
        """Cache answers for this state (`Live.state`) from now on."""
        with self._lock:
            if state != self._state:
                self._answers.clear()
                self._state = state

    def get(self, state: Hashable, key: Hashable) -> bytes | None:
        """Return the cached answer to a query in this state, or None."""
        with self._lock:
            return self._answers.get(key) if state == self._state else None

    def put(self, state: Hashable, key: Hashable, answer: bytes) -> None:
        """Store an answer, unless the state is not the current one or the answer is larger than the cache."""
        with self._lock:
            if state == self._state and _size(answer) <= self._answers.maxsize:
                self._answers[key] = answer


def _size(answer: bytes) -> int:
    return len(answer) + ENTRY_BYTES
