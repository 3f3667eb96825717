"""Read a catalog of any kind: every row becomes a video or a problem."""

import posixpath
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from rayreel.catalog.containers import SUFFIXES
from rayreel.catalog.folder import read_folder
from rayreel.catalog.left_out import LeftOut
from rayreel.catalog.manifest import read_manifest
from rayreel.catalog.problem import CatalogError, RowProblem
from rayreel.catalog.source import is_remote, local_path
from rayreel.catalog.video import CatalogVideo
from rayreel.failures import Reason
from rayreel.remote.config import ReadLimits
from rayreel.remote.local import may_read

_LIMITS = ReadLimits()


@dataclass(frozen=True, slots=True)
class Catalog:
    """The videos of a source, its invalid rows, and what was skipped. `video_id` is unique in `videos`."""

    source: str
    videos: list[CatalogVideo] = field(default_factory=list)
    problems: list[RowProblem] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)

    def __len__(self) -> int:
        """Return the number of rows: videos and problems."""
        return len(self.videos) + len(self.problems)


def read_catalog(source: str | Path, limits: ReadLimits = _LIMITS) -> Catalog:
    """Read a folder of videos, or a manifest at a path or an s3://, gs:// or https:// URL.

    Checks that local videos exist, but not remote ones. A remote catalog may refer only to local files in
    `limits.allowed_roots`. The first of several rows with the same `video_id` is used. Raises CatalogError if the
    source does not exist, is of an unknown kind, has no rows or exceeds `limits`.

    >>> from rayreel.catalog.write import write_catalog
    >>> waves = CatalogVideo(video_id="waves", uri="https://host.example/waves.mp4", extra={"views": 7})
    >>> lost = CatalogVideo(video_id="lost", uri="lost.mp4")
    >>> catalog = read_catalog(write_catalog([waves, lost], Path("films")))
    >>> [(video.video_id, video.extra) for video in catalog.videos]
    [('waves', {'views': 7})]
    >>> [(problem.row, problem.reason.value) for problem in catalog.problems]
    [(2, 'missing_file')]
    """
    source = local_path(str(source))
    if limits.from_outside and not is_remote(source) and not may_read(source, limits):
        raise CatalogError(f"API clients may not read {source}. Add its folder to limits.allowed_roots.")
    is_folder = not is_remote(source) and Path(source).is_dir()
    catalog, first = Catalog(source), dict[str, str]()
    for number, item in enumerate(_rows(catalog, is_folder, limits), start=1):
        row = None if is_folder else number
        checked = item if isinstance(item, RowProblem) else _check(item, source, row, first, limits)
        if isinstance(checked, RowProblem):
            catalog.problems.append(checked)
        else:
            catalog.videos.append(checked)
    if not len(catalog):
        expected = ", ".join(sorted(SUFFIXES)) if is_folder else "column names and one row per video"
        skipped = f" Skipped: {'; '.join(catalog.left_out.lines())}." if catalog.left_out.counts else ""
        raise CatalogError(f"{source} has no videos. Expected {expected}.{skipped}")
    return catalog


def _rows(catalog: Catalog, is_folder: bool, limits: ReadLimits) -> Iterator[CatalogVideo | RowProblem]:
    source = catalog.source
    if is_folder:
        return read_folder(Path(source), catalog.left_out)
    if not is_remote(source) and not Path(source).exists():
        raise CatalogError(
            f"{source} does not exist. Give a folder of videos or a .csv, .tsv, .jsonl or .parquet file."
        )
    return read_manifest(source, catalog.left_out, limits=limits)


def _check(
    video: CatalogVideo, source: str, row: int | None, first: dict[str, str], limits: ReadLimits
) -> CatalogVideo | RowProblem:
    here = video.uri if row is None else f"row {row}"
    where = here if row is None else f"{source} {here}"
    if (earlier := first.setdefault(video.video_id, here)) != here:
        detail = f"{where}: the video_id {video.video_id!r} is already used by {earlier}; ids must be unique."
        return RowProblem(row, video.video_id, video.uri, Reason.DUPLICATE_ID, detail)
    if not video.uri or is_remote(video.uri):
        return video
    if _is_forbidden(video.uri, source, limits):
        detail = f"{where}: local files must be in one of the folders in limits.allowed_roots."
        return RowProblem(row, video.video_id, video.uri, Reason.PATH_NOT_ALLOWED, detail, video)
    if error := _file_error(video.uri):
        detail = f"{where}: no video file at {video.uri} ({error}); {_hint(video.uri, source, limits)}."
        return RowProblem(row, video.video_id, video.uri, Reason.MISSING_FILE, detail, video)
    return video


def _is_forbidden(path: str, source: str, limits: ReadLimits) -> bool:
    """Return whether a catalog may not refer to a local path. Does not check whether the file exists."""
    guarded = is_remote(source) or limits.from_outside or bool(limits.allowed_roots)
    return guarded and not may_read(path, limits)


def _file_error(path: str) -> str:
    """Return why a path is not a regular file, or "" if it is one."""
    try:
        return "" if Path(path).stat() and Path(path).is_file() else "a folder or a device"
    except OSError as error:
        return error.strerror or "not found"
    except ValueError as error:  # a NUL in the path
        return str(error)


def _hint(path: str, source: str, limits: ReadLimits) -> str:
    """Return how to spell a path so that it exists. Looks only for files that the catalog may refer to."""
    spellings = {
        "write / instead of \\": posixpath.normpath(path.replace("\\", "/")),
        "write the path without % escapes": unquote(path),
        "the file name on disk has composed accents (Unicode NFC)": unicodedata.normalize("NFC", path),
        "the file name on disk has decomposed accents (Unicode NFD)": unicodedata.normalize("NFD", path),
    }
    allowed = {hint: spelling for hint, spelling in spellings.items() if not _is_forbidden(spelling, source, limits)}
    existing = (hint for hint, spelling in allowed.items() if spelling != path and not _file_error(spelling))
    return next(existing, "relative paths are resolved from the catalog's folder")
