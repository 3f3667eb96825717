"""Releases that a replica answers from besides the serving one, because a request names them."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from rayreel.errors import RayreelError
from rayreel.index.alias import collections
from rayreel.index.collection import collection_name
from rayreel.index.connect import MilvusClient
from rayreel.index.retry import call_milvus
from rayreel.recommendation.live import Live, load_live
from rayreel.recommendation.query import BadQuery
from rayreel.release.snapshot import kept_versions
from rayreel.settings import Settings
from serve_apps.problems import Busy
from serve_apps.serving import Serving

log = logging.getLogger(__name__)

# A release that was asked for within this time is not dropped for another: loading one takes seconds if it is large.
HELD_S = 30.0
# One that was not asked for in this time is dropped.
IDLE_S = 3600.0
# Longest wait for Milvus' list of collections.
LIST_S = 2.0


class ReleaseNotKept(BadQuery):
    """A request names a release that is not built, or no longer kept."""


@dataclass(slots=True)
class _Loaded:
    """A release with all its changes, and the part that may be shown beside the serving release."""

    own: Live
    shown: Serving
    beside: tuple[int, str, str] | None = None
    of_arm: bool = False
    asked_at: float = field(default_factory=time.monotonic)
    comparing: asyncio.Lock = field(default_factory=asyncio.Lock)


class BesideReleases:
    """Up to `serve.beside_releases` releases besides the serving one, each loaded when a request first names it.

    Those of arms come on top: clients choose no arm, and cannot displace what answers one. All follow their changes as
    the serving release does. Videos that the serving release does not have are left out: deletions reach the serving
    release only, and both answers are of the same videos. Belongs to one event loop.
    """

    def __init__(self, settings: Settings, client: Callable[[], MilvusClient]) -> None:
        self._settings, self._client, self._most = settings, client, settings.serve.beside_releases
        self._loaded: dict[int, _Loaded] = {}
        self._loading, self._listing = asyncio.Lock(), asyncio.Lock()
        self._versions, self._listed_at = list[int](), float("-inf")

    def ready(self, version: int, serving: Serving) -> Serving | None:
        """Return a release from memory, None if it has to be loaded or compared with the serving one. Never blocks."""
        found = self._loaded.get(version)
        if found is None or found.beside != serving.live.state:
            return None
        found.asked_at = time.monotonic()
        return found.shown

    async def at(self, version: int, serving: Serving, *, of_arm: bool = False) -> Serving:
        """Return a release, loading it if necessary. Raises ReleaseNotKept, Busy, IndexUnavailable, Unavailable."""
        found = self._loaded.get(version) or await self._load(version, serving, of_arm=of_arm)
        found.of_arm = found.of_arm or of_arm
        async with found.comparing:
            if found.beside != serving.live.state:
                own = found.own
                shown = Serving(
                    version, collection_name(version), await asyncio.to_thread(_without_gone, own, serving.live)
                )
                if own is not found.own:  # changed meanwhile: the next request compares again
                    return shown
                found.shown, found.beside = shown, serving.live.state
        found.asked_at = time.monotonic()
        return found.shown

    async def kept(self) -> list[int]:
        """Return the versions that are built and kept, looked up every `serve.refresh_s`.

        Raises IndexUnavailable, Unavailable.
        """
        async with self._listing:
            if time.monotonic() - self._listed_at > self._settings.serve.refresh_s:
                self._versions = await asyncio.to_thread(self._list)
                self._listed_at = time.monotonic()
        return self._versions

    async def refresh(self, serving: Serving) -> None:
        """Apply the changes of the loaded releases. Drop those whose collection is gone, and the one that serves now.

        If that fails, they stay as they are until the next time.
        """
        self._listed_at = float("-inf")
        if not self._loaded:
            return
        try:
            kept, now = set(await self.kept()) - {serving.version}, time.monotonic()
            idle = {version for version, found in self._loaded.items() if now - found.asked_at > IDLE_S}
            for version in idle | (self._loaded.keys() - kept):
                del self._loaded[version]
                log.info("release %d is no longer answered from beside release %d", version, serving.version)
            for version, found in list(self._loaded.items()):
                if (own := await asyncio.to_thread(self._read, version, found.own)) is not found.own and own:
                    found.own, found.beside = own, None
        except (RayreelError, OSError) as error:
            log.warning("releases beside the serving one could not be brought up to date: %s", error)

    async def _load(self, version: int, serving: Serving, *, of_arm: bool) -> _Loaded:
        await self._check(version, serving.version)
        async with self._loading:
            if version in self._loaded:
                return self._loaded[version]
            if not of_arm:
                self._make_room()
            own = await asyncio.to_thread(self._read, version)
            if own is None:
                raise ReleaseNotKept(f"Release {version} has just been dropped. Ask for another one.")
            log.info("release %d is answered from beside release %d, %d videos", version, serving.version, len(own))
            found = self._loaded[version] = _Loaded(own, Serving(version, collection_name(version), own))
            return found

    async def _check(self, version: int, serving: int) -> None:
        """Raise ReleaseNotKept unless a release can be asked, before anything is loaded."""
        if not self._most:
            raise ReleaseNotKept(f"Only release {serving} answers here: serve.beside_releases is 0. Omit release.")
        kept = await self.kept()
        if version not in kept:
            others = ", ".join(str(other) for other in kept)
            raise ReleaseNotKept(
                f"Release {version} is not kept. Releases that can be asked: {others}. To build another version "
                f"without serving it, run `rayreel index --version {version}`."
            )

    def _make_room(self) -> None:
        """Drop the release that requests have not named for the longest. Raises Busy if all are in use."""
        asked = {version: found.asked_at for version, found in self._loaded.items() if not found.of_arm}
        if len(asked) < self._most:
            return
        version = min(asked, key=asked.__getitem__)
        if time.monotonic() - asked[version] < HELD_S:
            used = ", ".join(map(str, sorted(asked)))
            raise Busy(f"Releases {used} are in use beside the serving one. Try again later, or ask for one of them.")
        del self._loaded[version]

    def _list(self) -> list[int]:
        found = call_milvus(LIST_S, collections, self._client(), timeout=LIST_S)
        return sorted({version for version, _ in found} & set(kept_versions(self._settings.place)))

    def _read(self, version: int, before: Live | None = None) -> Live | None:
        return load_live(self._settings.place, version, self._settings.release.snapshot_cache, before)


def _without_gone(own: Live, serving: Live) -> Live:
    return own.without(own.absent_from(serving))
