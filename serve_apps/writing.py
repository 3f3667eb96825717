"""Adding and deleting videos over HTTP. A write is stored, searchable and known to all replicas before the response."""

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
from rayreel.media.pictures import Pictures
from rayreel.release import registry
from rayreel.release.increment import Writer
from rayreel.release.rows import ReleaseRows, VideoRow
from rayreel.settings import Settings
from serve_apps.content import Content
from serve_apps.encoding import Encoding
from serve_apps.limits import Blocking
from serve_apps.problems import BadVideo, Unavailable
from serve_apps.serving import Serving
from serve_apps.state import ReleaseState

log = logging.getLogger(__name__)

# Folder of uploaded files below the storage root; they are deleted with their videos.
UPLOADS = "uploads"
# Promotions are rare: a write needs more than one attempt only if a switch happens meanwhile.
ATTEMPTS = 5
_TEMPORARY = (Reason.UNREACHABLE, Reason.TIMEOUT)


class Writing:
    """Writes to the feature store and the serving release, and to a release that is switched to meanwhile."""

    def __init__(
        self, settings: Settings, state: ReleaseState, encode: Encoding, announce: Callable[[], Awaitable[Any]]
    ) -> None:
        self._settings, self._state, self._encode, self._announce = settings, state, encode, announce
        self._threads = Blocking("write", settings.serve.write_threads, settings.serve.queued_writes)
        self._writers: dict[int, Writer] = {}

    async def add(self, new: NewVideo, content: Content | None = None, name: str = "") -> str:
        """Add a video from its uri or its content and return its id. Raises BadVideo, Busy, Unavailable."""
        video = await asyncio.to_thread(self._catalog_row, new, content, name)
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
            # Once started, a write is completed even if the client disconnects.
            await asyncio.shield(self._threads(writer.add, encoded.features, rows))
            await self._announce()
            if (now := self._state.current).version == serving.version:
                if before is not None:
                    await asyncio.to_thread(self._forget, [before], now, video.uri)
                return video.video_id
            serving = now
            again = await self._encode("embed_again", encoded.features, serving.version)
            if again is None:
                encoded = await self._encode.video("new_video", source, video, serving.version)
                if isinstance(encoded, Rejected):
                    raise refusal(encoded)
            rows = encoded.release_rows if again is None else again
        raise Unavailable("The serving release kept changing while the video was added. Try again.")

    async def delete(self, ids: Sequence[str]) -> list[str]:
        """Delete videos and return the ids that existed. Raises Busy, Unavailable."""
        deleted: set[str] = set()
        serving = self._state.current
        rows = [row for video_id in ids if (row := _row(serving, video_id)) is not None]
        for _ in range(ATTEMPTS):
            writer = await self._writer(serving)
            deleted |= set(await asyncio.shield(self._threads(writer.delete, list(ids))))
            await self._announce()
            if (now := self._state.current).version == serving.version:
                await asyncio.to_thread(self._forget, rows, now)
                return sorted(deleted)
            serving = now
        raise Unavailable("The serving release kept changing while the videos were deleted. Try again.")

    async def _writer(self, serving: Serving) -> Writer:
        if serving.version not in self._writers:
            self._writers[serving.version] = await asyncio.to_thread(self._make_writer, serving.version)
        return self._writers[serving.version]

    def _make_writer(self, version: int) -> Writer:
        settings = self._settings
        store = open_store(settings.place, registry.resolve(str(version)).encoder_key)
        return Writer(store, ReleaseRows(settings.place, version), self._state.client, settings.index)

    def _catalog_row(self, new: NewVideo, content: Content | None, name: str) -> CatalogVideo:
        """Return the catalog row. The default id is a digest of content or URI, so repeated requests add one video."""
        default = f"video_{hashlib.sha256(new.uri.encode() if content is None else content.data).hexdigest()[:24]}"
        video_id = new.video_id or default
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

    def _forget(self, rows: Sequence[VideoRow], now: Serving, kept: str = "") -> None:
        """Delete the uploaded files of former rows, except `kept`, and their pictures, which copies may still need.

        Other URIs are ignored, since those files are not ours.
        """
        folder = self._settings.place.uri(UPLOADS, "").partition("?")[0]
        for uri in {row.uri for row in rows} - {kept}:
            if uri.startswith(folder):
                with suppress(FileNotFoundError):
                    self._settings.place.filesystem.delete_file(self._upload_path(uri))
        contents = {row.content_hash for row in rows if row.content_hash}
        pictures = Pictures(self._settings.place)
        for content_hash in contents - now.live.contents(contents):
            pictures.forget(content_hash)


def refusal(rejected: Rejected) -> Exception:
    """Return the error for a rejected video, with its reason but not its detail, which may contain paths."""
    if rejected.reason in _TEMPORARY:
        return BadVideo(f"{rejected.reason}: the video could not be read in time. Try again.")
    return BadVideo(f"{rejected.reason}: the file cannot be used as a video.")


def _row(serving: Serving, video_id: str) -> VideoRow | None:
    place = serving.live.find(video_id)
    return None if place is None else serving.live.row(place)
