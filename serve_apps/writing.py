"""Adding and deleting videos over HTTP: written, searchable and known to every replica before the answer leaves."""

import asyncio
import hashlib
import logging
import mimetypes
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from rayreel.catalog.video import CatalogVideo
from rayreel.client.messages import NewVideo
from rayreel.failures import Reason, Rejected
from rayreel.features.store import open_store
from rayreel.release import registry
from rayreel.release.increment import Writer
from rayreel.release.rows import ReleaseRows, VideoRow
from rayreel.settings import Settings
from serve_apps.blocking import Blocking
from serve_apps.content import Content
from serve_apps.encoding import Encoding
from serve_apps.problems import BadVideo, Unavailable
from serve_apps.state import ReleaseState, Serving

log = logging.getLogger(__name__)

WRITE_THREADS, WRITES_WAITING = 4, 32
# Below the storage root: what was uploaded, for as long as the video is there.
UPLOADS = "uploads"
# Promotions do not follow each other so fast that a write would never meet a release that stays.
ATTEMPTS = 5
_PASSING = (Reason.UNREACHABLE, Reason.TIMEOUT)


class Writing:
    """Writes to the release that serves, feature store first; a release that is switched meanwhile gets it too."""

    def __init__(
        self, settings: Settings, state: ReleaseState, encode: Encoding, announce: Callable[[], Awaitable[Any]]
    ) -> None:
        self._settings, self._state, self._encode, self._announce = settings, state, encode, announce
        self._threads = Blocking("write", WRITE_THREADS, WRITES_WAITING)
        self._writers: dict[int, Writer] = {}

    async def add(self, new: NewVideo, content: Content | None = None, name: str = "") -> str:
        """Add a video from its uri or its content and return its id. Raises BadVideo, Busy, Unavailable."""
        video = await asyncio.to_thread(self._described, new, content, name)
        serving = self._state.current
        before = _row(serving, video.video_id)
        source = video.uri if content is None else content
        encoded = await self._encode.video("new_video", source, video, serving.version)
        if isinstance(encoded, Rejected):
            raise refusal(encoded)
        if content is not None:
            await asyncio.to_thread(self._settings.place.write, self._upload_path(video.uri), content.data)
        rows = encoded.release_rows
        for _ in range(ATTEMPTS):
            writer = await self._writer(serving)
            # Once begun it is done to the end, even for a client that has left.
            await asyncio.shield(self._threads(writer.add, encoded.features, rows))
            await self._announce()
            if (now := self._state.current).version == serving.version:
                if before is not None and before.uri != video.uri:
                    await asyncio.to_thread(self._forget, [before.uri])
                return video.video_id
            serving = now
            rows = await self._encode("embed_again", encoded.features, serving.version)
        raise Unavailable("Releases are being switched faster than the video could be added. Try again.")

    async def delete(self, ids: Sequence[str]) -> list[str]:
        """Delete videos; returns those that were there. Raises Busy, Unavailable."""
        gone: set[str] = set()
        serving = self._state.current
        uploads = [row.uri for video_id in ids if (row := _row(serving, video_id)) is not None]
        for _ in range(ATTEMPTS):
            writer = await self._writer(serving)
            gone |= set(await asyncio.shield(self._threads(writer.delete, list(ids))))
            await self._announce()
            if (now := self._state.current).version == serving.version:
                await asyncio.to_thread(self._forget, uploads)
                return sorted(gone)
            serving = now
        raise Unavailable("Releases are being switched faster than the videos could be deleted. Try again.")

    async def _writer(self, serving: Serving) -> Writer:
        if serving.version not in self._writers:
            self._writers[serving.version] = await asyncio.to_thread(self._make_writer, serving.version)
        return self._writers[serving.version]

    def _make_writer(self, version: int) -> Writer:
        settings = self._settings
        store = open_store(settings.place, registry.resolve(str(version)).encoder_key)
        return Writer(store, ReleaseRows(settings.place, version), self._state.client, settings.index)

    def _described(self, new: NewVideo, content: Content | None, name: str) -> CatalogVideo:
        """The catalog row. An id that is not given is the content's or the address's: sent twice, it is one video."""
        made = f"video_{hashlib.sha256(new.uri.encode() if content is None else content.data).hexdigest()[:24]}"
        video_id = new.video_id or made
        uri = new.uri if content is None else self._upload_uri(video_id, content, name)
        created = None if new.created_at is None else datetime.fromtimestamp(new.created_at, UTC)
        return CatalogVideo(
            video_id=video_id,
            uri=uri,
            title=new.title,
            description=new.description,
            category=new.category,
            tags=tuple(new.tags),
            created_at=created,
            extra=dict(new.metadata),
        )

    def _upload_uri(self, video_id: str, content: Content, name: str) -> str:
        suffix = "." + name.rpartition(".")[2].lower()
        known = (mimetypes.types_map.get(suffix) or "").startswith("video/")
        digest = hashlib.sha256(video_id.encode())
        digest.update(content.data)
        return self._settings.place.uri(UPLOADS, f"{digest.hexdigest()[:32]}{suffix if known else '.video'}")

    def _upload_path(self, uri: str) -> str:
        return self._settings.place.path(UPLOADS, uri.partition("?")[0].rpartition("/")[2])

    def _forget(self, uris: Sequence[str]) -> None:
        """Delete uploads; other files are not ours."""
        folder = self._settings.place.uri(UPLOADS, "").partition("?")[0]
        for uri in uris:
            if uri.startswith(folder):
                with suppress(FileNotFoundError):
                    self._settings.place.filesystem.delete_file(self._upload_path(uri))


def refusal(rejected: Rejected) -> Exception:
    """Why a video is not taken: its reason, never the detail, which names paths."""
    if rejected.reason in _PASSING:
        return BadVideo(f"{rejected.reason}: the video could not be read in time. Try again.")
    return BadVideo(f"{rejected.reason}: this cannot be used as a video.")


def _row(serving: Serving, video_id: str) -> VideoRow | None:
    place = serving.live.find(video_id)
    return None if place is None else serving.live.row(place)
