"""Read a folder of video files as a catalog."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rayreel.catalog.containers import SUFFIXES
from rayreel.catalog.left_out import LeftOut
from rayreel.catalog.naming import title_of_file
from rayreel.catalog.problem import RowProblem, check_row, invalid_row
from rayreel.catalog.video import CatalogVideo
from rayreel.failures import Reason

SIDECARS = (".txt", ".json")
# What is said; extraction reads them, of every catalog with local files.
CAPTIONS = (".vtt", ".srt")


def read_folder(folder: Path, left_out: LeftOut | None = None) -> Iterator[CatalogVideo | RowProblem]:
    """Yield every video file below a folder, in sorted order; skipped files are counted in `left_out`.

    `video_id` is the path relative to the folder without its suffix, `category` the first sub-folder. The title is the
    file's name, unless that names the category (see `title_of_file`). Next to `clip.mp4`, `clip.txt` may contain a
    title on its first line and a description after it; `clip.json` may contain any columns except `video_id` and `uri`,
    and takes precedence; `clip.vtt` or `clip.srt` are captions. A link that leads out of the folder is a problem.
    Skipped are hidden files and folders, files without a video suffix, and links to sub-folders of the same folder,
    whose videos are listed under their real path.
    """
    root, left_out = folder.resolve(), left_out or LeftOut()
    pending = [root]  # not recursive: folders may be nested deeper than Python's stack
    while pending:
        path = pending.pop()
        if _is_folder(path) and not path.is_symlink():
            try:
                pending += reversed(_list_folder(path, root, left_out))
            except OSError as error:
                yield RowProblem(
                    None, _video_id(path, root), str(path), Reason.UNREADABLE, f"{path}: {error.strerror}."
                )
        elif _leads_outside(path, root):
            yield _outside_link(path, root, link=path)
        else:
            yield read_video(path, root)


def _list_folder(folder: Path, root: Path, left_out: LeftOut) -> list[Path]:
    """Return a folder's videos, sub-folders and links out of `root`, sorted; count everything else."""
    paths = sorted(folder.iterdir())
    stems = {path.stem for path in paths if _is_video(path)}
    kept = []
    for path in paths:
        if kind := _skip_reason(path, root, stems):
            left_out.add(kind, str(path.relative_to(root)))
        elif _is_folder(path) or _is_video(path):
            kept.append(path)
    return kept


def _skip_reason(path: Path, root: Path, stems: set[str]) -> str:
    """Return why a path is not part of the catalog, or "" if it is."""
    if path.name.startswith("."):
        return "hidden files or folders"
    if _is_folder(path):
        inner = path.is_symlink() and not _leads_outside(path, root)
        return "links to folders already listed" if inner else ""
    if _is_video(path) or (path.suffix in (*SIDECARS, *CAPTIONS) and path.stem in stems):
        return ""
    return f"unsupported suffix {path.suffix.lower()}" if path.suffix else "no suffix"


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises without permission


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def read_video(path: Path, root: Path) -> CatalogVideo | RowProblem:
    """Read one video file below `root`, an absolute path without links, with the sidecars next to it."""
    parents = path.relative_to(root).parts[:-1]
    columns: dict[str, Any] = {"category": parents[0] if parents else ""}
    where = path
    for suffix, parse in zip(SIDECARS, (_parse_text, _parse_json), strict=True):
        sidecar = path.with_suffix(suffix)
        if not sidecar.is_file():
            continue
        if _leads_outside(sidecar, root):
            return _outside_link(path, root, link=sidecar)
        try:
            columns |= parse(sidecar.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError) as error:
            return invalid_row(_identity(path, root), str(sidecar), None, _message(error))
        where = sidecar
    columns["title"] = columns.get("title") or title_of_file(path.stem, str(columns.get("category") or ""))
    return check_row(columns | _identity(path, root), str(where), None)


def _parse_text(text: str) -> dict[str, str]:
    title, _, description = text.strip().partition("\n")
    return {"title": title, "description": description}


def _parse_json(text: str) -> dict[str, Any]:
    columns = json.loads(text)
    if not isinstance(columns, dict):
        raise ValueError('expected a JSON object such as {"title": "A walk"}')
    return {name: value for name, value in columns.items() if value is not None}


def _message(error: Exception) -> str:
    match error:
        case UnicodeDecodeError():
            return f"not UTF-8 text (byte {error.start})"
        case json.JSONDecodeError():
            return f"not valid JSON: {error}"
        case RecursionError():
            return "nested too deeply"
    return str(error)


def _identity(path: Path, root: Path) -> dict[str, str]:
    return {"video_id": _video_id(path, root), "uri": str(path)}


def _video_id(path: Path, root: Path) -> str:
    return path.relative_to(root).with_suffix("").as_posix() if path != root else ""


def _leads_outside(path: Path, root: Path) -> bool:
    # Path.resolve raises on a link to itself; realpath does not.
    return path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root)


def _outside_link(path: Path, root: Path, link: Path) -> RowProblem:
    return invalid_row(_identity(path, root), str(link), None, f"the link leads out of {root} and is not followed")
