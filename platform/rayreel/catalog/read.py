"""Read a catalog, whatever it is, and account for every row of it."""

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
    """The videos of a source, its rows that cannot be used, and what is neither.

    Every `video_id` in `videos` is there once.
    """

    source: str
    videos: list[CatalogVideo] = field(default_factory=list)
    problems: list[RowProblem] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)

    def __len__(self) -> int:
        """Rows of the source: videos and problems."""
        return len(self.videos) + len(self.problems)


def read_catalog(source: str | Path, limits: ReadLimits = _LIMITS) -> Catalog:
    """Read a folder of videos, or a manifest at a path or s3://, gs://, https://.

    Local files are looked for, remote ones are not; a remote catalog names only those in `limits.allowed_roots`. Of
    rows with one `video_id` the first counts. Raises CatalogError where there is no source, it is of no known kind, it
    has no rows or it is larger than `limits`.
    """
    source = local_path(str(source))
    if limits.from_outside and not is_remote(source) and not may_read(source, limits):
        raise CatalogError(f"{source} may not be read from outside. Name its folder in limits.allowed_roots.")
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
        kinds = ", ".join(sorted(SUFFIXES)) if is_folder else "one row per video below the column names"
        besides = f" Left out: {'; '.join(catalog.left_out.lines())}." if catalog.left_out.counts else ""
        raise CatalogError(f"{source} has no videos. Expected {kinds}.{besides}")
    return catalog


def _rows(catalog: Catalog, is_folder: bool, limits: ReadLimits) -> Iterator[CatalogVideo | RowProblem]:
    source = catalog.source
    if is_folder:
        return read_folder(Path(source), catalog.left_out)
    if not is_remote(source) and not Path(source).exists():
        raise CatalogError(f"There is no {source}. Give a folder of videos or a .csv, .tsv, .jsonl or .parquet file.")
    return read_manifest(source, catalog.left_out, limits=limits)


def _check(
    video: CatalogVideo, source: str, row: int | None, first: dict[str, str], limits: ReadLimits
) -> CatalogVideo | RowProblem:
    here = video.uri if row is None else f"row {row}"
    where = here if row is None else f"{source} {here}"
    if (earlier := first.setdefault(video.video_id, here)) != here:
        detail = f"{where}: the video_id {video.video_id!r} is already taken by {earlier}; give each video its own."
        return RowProblem(row, video.video_id, video.uri, Reason.DUPLICATE_ID, detail)
    if not is_remote(video.uri) and _is_closed(video.uri, source, limits):
        detail = f"{where}: files of this machine may be named only in the folders of limits.allowed_roots."
        return RowProblem(row, video.video_id, video.uri, Reason.PATH_NOT_ALLOWED, detail)
    if not is_remote(video.uri) and (fault := _missing(video.uri)):
        detail = f"{where}: there is no file {video.uri} ({fault}); {_hint(video.uri, source, limits)}."
        return RowProblem(row, video.video_id, video.uri, Reason.MISSING_FILE, detail)
    return video


def _is_closed(path: str, source: str, limits: ReadLimits) -> bool:
    """Whether a catalog may not name a local file, be it there or not. Decided before anything looks for it."""
    guarded = is_remote(source) or limits.from_outside or bool(limits.allowed_roots)
    return guarded and not may_read(path, limits)


def _missing(path: str) -> str:
    """Why a path is no file; empty where it is one."""
    try:
        return "" if Path(path).stat() and Path(path).is_file() else "it is a folder or a device"
    except OSError as error:
        return error.strerror or "not found"
    except ValueError as error:  # a NUL in the path
        return str(error)


def _hint(path: str, source: str, limits: ReadLimits) -> str:
    """How the path would have to be written, where that is all there is to it and the file may be named."""
    others = {
        "write / in place of \\": posixpath.normpath(path.replace("\\", "/")),
        "a path is written as it is, without % escapes": unquote(path),
        "its accents are composed on disk (Unicode NFC)": unicodedata.normalize("NFC", path),
        "its accents are decomposed on disk (Unicode NFD)": unicodedata.normalize("NFD", path),
    }
    open_ones = {hint: other for hint, other in others.items() if not _is_closed(other, source, limits)}
    found = (hint for hint, other in open_ones.items() if other != path and not _missing(other))
    return next(found, "relative paths count from the catalog's folder")
