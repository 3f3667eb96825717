"""Pictures of a video to look at: a poster and a contact sheet, from frames that extraction has decoded anyway."""

import base64
import io
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rayreel.durable import StorageFull
from rayreel.media.clip import Clip
from rayreel.storage import Storage

log = logging.getLogger(__name__)

FOLDER = "pictures"
_QUALITIES = (75, 50, 25, 10)
_MOST_TILES = 8
# Writes to an object store take tens of milliseconds each.
_REMOTE_WRITES = 16
# A file has the length of its poster in this many bytes, the poster and the sheet.
_LENGTH = 4
_HEX = frozenset("0123456789abcdef")


class PictureKind(StrEnum):
    """Poster: the frame with the most content. Sheet: up to 8 frames of half the size, side by side in time order."""

    POSTER = "poster"
    SHEET = "sheet"


MAX_BYTES = {PictureKind.POSTER: 20_000, PictureKind.SHEET: 60_000}


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures below a storage root, by the SHA-256 of the video. Copies of a video share them.

    They can be made again, so writing them does not wait for the disk, and a failed write is only logged.
    """

    storage: Storage
    form: Literal["jpeg", "webp"] = "jpeg"

    def keep(self, clips: Sequence[Clip], window: int = 1) -> None:
        """Write the pictures of clips that have none yet; `window` frames of a clip are consecutive."""
        if self.storage.is_local:  # cores are busy with decoding
            for clip in clips:
                self._keep(clip, window)
            return
        with ThreadPoolExecutor(_REMOTE_WRITES) as pool:
            list(pool.map(lambda clip: self._keep(clip, window), clips))

    def read(self, content_hash: str, kind: PictureKind) -> bytes | None:
        """Return a picture, or None if there is none or it is incomplete."""
        content = self.storage.read(self._path(content_hash)) or b""
        end = _LENGTH + int.from_bytes(content[:_LENGTH], "big")
        picture = content[_LENGTH:end] if kind is PictureKind.POSTER else content[end:]
        return picture if media_type(picture) else None

    def forget(self, content_hash: str) -> None:
        """Delete the pictures of a video."""
        path = self._path(content_hash)
        if self.storage.exists(path):
            self.storage.filesystem.delete_file(path)

    def _keep(self, clip: Clip, window: int) -> None:
        try:
            path = self._path(clip.content_hash)
            if not self.storage.exists(path):
                made = pictures_of(clip.frames[::window], self.form)
                length = len(made[PictureKind.POSTER]).to_bytes(_LENGTH, "big")
                # One file, since a write takes longer than encoding a poster.
                self.storage.write_expendable(path, length + b"".join(made.values()))
        except (OSError, StorageFull) as error:
            log.warning("the pictures of a video were not written: %s", error)

    def _path(self, content_hash: str) -> str:
        if not content_hash or not _HEX.issuperset(content_hash):
            raise ValueError(f"{content_hash!r} is not a hash")
        return self.storage.path(FOLDER, content_hash[:2], f"{content_hash}.pictures")


def pictures_in(storage: Storage, form: Literal["jpeg", "webp", "off"]) -> Pictures | None:
    """Return the pictures of a storage root; None if none are kept."""
    return None if form == "off" else Pictures(storage, form)


def pictures_of(frames_NHWC: NDArray[np.uint8], form: Literal["jpeg", "webp"]) -> dict[PictureKind, bytes]:
    """Return the poster and the contact sheet of RGB frames in time order, encoded."""
    chosen = np.linspace(0, len(frames_NHWC) - 1, min(_MOST_TILES, len(frames_NHWC))).round().astype(int)
    tiles = [Image.fromarray(frames_NHWC[place]).reduce(2) for place in chosen]
    sheet = Image.new("RGB", (sum(tile.width for tile in tiles), tiles[0].height))
    for place, tile in enumerate(tiles):
        sheet.paste(tile, (place * tile.width, 0))
    poster = Image.fromarray(max(frames_NHWC, key=content_of))
    return {kind: _encoded(kind, image, form) for kind, image in zip(PictureKind, (poster, sheet), strict=True)}


def content_of(frame_HWC: NDArray[np.uint8]) -> float:
    """Return the entropy of a frame's brightness in 32 steps, bits: 0 for a black frame, little for a title card."""
    brightness = frame_HWC[::4, ::4, 1] >> 3  # green is most of it
    counts = np.bincount(brightness.ravel())
    shares = counts[counts > 0] / brightness.size
    return float(-(shares * np.log2(shares)).sum())


def thumbnail(picture: bytes, height: int) -> str:
    """Return a smaller JPEG of a picture as a data URL, for pages that contain all they show."""
    image, out = Image.open(io.BytesIO(picture)).convert("RGB"), io.BytesIO()
    image.thumbnail((image.width, height))
    image.save(out, "jpeg", quality=60)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"


def media_type(content: bytes) -> str | None:
    """Return the media type of a picture by its content; None if it is incomplete or of another kind."""
    if content.startswith(b"\xff\xd8") and content.endswith(b"\xff\xd9"):
        return "image/jpeg"
    whole = content[8:12] == b"WEBP" and int.from_bytes(content[4:8], "little") + 8 == len(content)
    return "image/webp" if whole else None


def _encoded(kind: PictureKind, image: Image.Image, form: Literal["jpeg", "webp"]) -> bytes:
    """Encode with the best quality that fits into the size limit; noise needs a lower one."""
    content = b""
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        # WebP's fastest method: slower ones save 15 % of the size for twice the time.
        image.save(buffer, form, quality=quality, **({"method": 0} if form == "webp" else {}))
        content = buffer.getvalue()
        if len(content) <= MAX_BYTES[kind]:
            break
    return content
