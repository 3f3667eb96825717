"""Videos from the web: fetched by yt-dlp into a folder that is a catalog, each once, with what is known about it."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rayreel.catalog.folder import CAPTIONS
from rayreel.errors import RayreelError

log = logging.getLogger(__name__)

ARCHIVE = ".fetched"  # hidden, so that it is no file of the catalog
EXTRA = 'pip install "rayreel[web]"'


class IngestUnavailable(RayreelError):
    """yt-dlp is not installed."""


class NothingFetched(RayreelError):
    """No address could be read."""


@dataclass(frozen=True, slots=True)
class IngestRules:
    """What is fetched, and how fast.

    `longest_s`: longer videos are left out; those of unknown length are not. `most`: videos per address. `languages` of
    captions, such as en for en-GB too; the first that a video has is kept. `form`: yt-dlp's format selection; the
    default needs no ffmpeg. `pause_s`: seconds before each video and between requests. `rate`: bytes per second, None:
    any.
    """

    longest_s: float = 60
    most: int | None = None
    languages: Sequence[str] = ("en",)
    form: str = "b[height<=720]/b"
    pause_s: float = 1.0
    rate: int | None = None
    timeout_s: float = 30.0
    retries: int = 3


@dataclass(slots=True)
class Ingested:
    """Numbers of videos: fetched now, with captions among them, left out as too long; and what failed."""

    fetched: int = 0
    captioned: int = 0
    too_long: int = 0
    failed: list[str] = field(default_factory=list)


def ingest(addresses: Sequence[str], folder: Path, rules: IngestRules = IngestRules()) -> Ingested:
    """Fetch the videos of channels, playlists, searches (`ytsearch20:WORDS`) and single pages into a folder.

    A video is SITE/ID.mp4 with its facts in SITE/ID.json, and captions in SITE/ID.vtt if its author has written some.
    A video that was fetched is not fetched again, even if its file was deleted; a part of one is continued.

    Raises:
        IngestUnavailable: yt-dlp is not installed.
        NothingFetched: no address could be read, such as when the site is away.
    """
    found, unread = Ingested(), 0
    with _downloader(folder, rules, found) as downloader:
        for address in addresses:
            failed = len(found.failed)
            if downloader.extract_info(address) is None and len(found.failed) > failed:
                unread += 1
    if unread == len(addresses):
        raise NothingFetched(
            f"Nothing could be read: {found.failed[0]}. If the site is away, run the same command later: what has "
            "been fetched is kept."
        )
    return found


def facts_of(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a catalog for yt-dlp's facts of a video; unknown ones are omitted, but the category."""
    moment = info.get("timestamp")
    date = str(info.get("upload_date") or "")
    known = {
        "title": info.get("title"),
        "description": info.get("description"),
        "tags": [tag for tag in info.get("tags") or () if str(tag).strip()] or None,
        "created_at": datetime.fromtimestamp(moment, UTC).isoformat() if moment is not None else _iso(date),
        "licence": info.get("license"),
        "uploader": info.get("uploader") or info.get("channel"),
        "page": info.get("webpage_url"),
        "site": info.get("extractor"),
    }
    categories = [str(name) for name in info.get("categories") or ()]
    return {"category": categories[0] if categories else "", **{k: v for k, v in known.items() if v}}


def _iso(date: str) -> str | None:
    return f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == 8 and date.isdigit() else None


@contextmanager
def _downloader(folder: Path, rules: IngestRules, found: Ingested) -> Iterator[Any]:
    try:
        from yt_dlp import YoutubeDL
        from yt_dlp.postprocessor import PostProcessor
    except ImportError as error:
        raise IngestUnavailable(f"Fetching from the web needs yt-dlp. Run `{EXTRA}`.") from error

    class KeepFacts(PostProcessor):  # type: ignore[misc]
        """Writes the facts of a fetched video beside it, before yt-dlp records that it has it."""

        def run(self, information: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
            """Write facts and captions."""
            video = Path(information["filepath"])
            video.with_suffix(".json").write_text(json.dumps(facts_of(information), ensure_ascii=False))
            found.fetched += 1
            found.captioned += _keep_captions(video, information.get("requested_subtitles") or {}, rules.languages)
            return [], information

    folder.mkdir(parents=True, exist_ok=True)
    with YoutubeDL(_options(folder, rules, found)) as downloader:
        downloader.add_post_processor(KeepFacts(), when="after_move")
        yield downloader


def _options(folder: Path, rules: IngestRules, found: Ingested) -> dict[str, Any]:
    def too_long(info: Mapping[str, Any], *, incomplete: bool) -> str | None:
        del incomplete
        if (info.get("duration") or 0) <= rules.longest_s:
            return None
        found.too_long += 1
        return f"longer than {rules.longest_s:g} s"

    return {
        "paths": {"home": str(folder)},
        "outtmpl": {"default": "%(extractor)s/%(id)s.%(ext)s"},
        "restrictfilenames": True,
        "download_archive": str(folder / ARCHIVE),
        "format": rules.form,
        "match_filter": too_long,
        "playlistend": rules.most,
        "writesubtitles": True,
        "subtitleslangs": [f"{name}(-.*)?" for name in rules.languages],
        "subtitlesformat": "/".join(suffix[1:] for suffix in CAPTIONS),
        "sleep_interval": rules.pause_s,
        "sleep_interval_requests": rules.pause_s,
        "ratelimit": rules.rate,
        "socket_timeout": rules.timeout_s,
        "retries": rules.retries,
        "extractor_retries": rules.retries,
        "ignoreerrors": True,
        "fixup": "never",
        "cachedir": False,
        "noprogress": True,
        "logger": _Log(found),
    }


class _Log:
    """What yt-dlp says. An error of one video of several does not stop the others."""

    def __init__(self, found: Ingested) -> None:
        self._found = found

    def debug(self, message: str) -> None:
        """Log progress, which yt-dlp sends here."""
        log.debug("%s", message)

    def warning(self, message: str) -> None:
        """Log a warning, such as of captions in another form."""
        log.info("%s", message)

    def error(self, message: str) -> None:
        """Keep an error."""
        self._found.failed.append(" ".join(message.removeprefix("ERROR: ").split())[:300])


def _keep_captions(video: Path, offered: Mapping[str, Mapping[str, Any]], languages: Sequence[str]) -> bool:
    """Rename the captions of the first available language to the video's name, and delete others."""
    files = {name: Path(entry["filepath"]) for name, entry in offered.items() if entry.get("filepath")}
    files = {name: path for name, path in files.items() if path.is_file() and path.suffix in CAPTIONS}
    named = (name for language in languages for name in files if name.partition("-")[0] == language or name == language)
    chosen = next(named, None)
    for name, path in files.items():
        if name == chosen:
            path.rename(video.with_suffix(path.suffix))
        else:
            path.unlink()
    return chosen is not None
