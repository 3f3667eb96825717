"""Captions beside a local video, `clip.vtt` or `clip.srt` next to `clip.mp4`: what is said, without recognising it."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from rayreel.catalog.folder import CAPTIONS
from rayreel.catalog.video import CatalogVideo
from rayreel.features.schema import SPOKEN
from rayreel.features.transcribing import spoken_row
from rayreel.speech.captions import read_captions
from rayreel.speech.transcript import Transcript

log = logging.getLogger(__name__)

KEY = "captions"
_MOST_BYTES = 1 << 22  # of a day of speech


def captions_beside(videos: Iterable[CatalogVideo]) -> dict[str, Path]:
    """Return the captions of the local videos that have some, by id."""
    local = {video.video_id: Path(video.uri) for video in videos if video.uri and "://" not in video.uri}
    beside = {video_id: [path.with_suffix(suffix) for suffix in CAPTIONS] for video_id, path in local.items()}
    found = {video_id: next((path for path in paths if path.is_file()), None) for video_id, paths in beside.items()}
    return {video_id: path for video_id, path in found.items() if path is not None}


def captions_key(path: Path) -> str:
    """Return what identifies captions in a row's version: other captions make another row."""
    stat = path.stat()
    return f"{KEY} {stat.st_size} {stat.st_mtime_ns}"


def captioned_rows(videos: Sequence[CatalogVideo], captions: Mapping[str, Path]) -> pa.Table:
    """Return the columns of SPOKEN for videos with captions. Those that cannot be read are logged and say nothing."""
    rows = [spoken_row(_transcript(captions[video.video_id]), KEY) for video in videos]
    return pa.Table.from_pylist(rows, schema=SPOKEN)


def _transcript(path: Path) -> Transcript:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES} bytes")
        return Transcript(segments=read_captions(path.read_text(encoding="utf-8-sig")))
    except (OSError, ValueError) as error:
        log.warning("captions left out: %s: %s", path, error)
        return Transcript()
