"""A folder of video files as a catalog."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rayreel.catalog.problem import Problem, check_row, invalid_row
from rayreel.catalog.video import Video
from rayreel.failures import Reason

SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp"}
)


def read_folder(folder: Path) -> Iterator[Video | Problem]:
    """Every video file below a folder, in sorted order; hidden files and folders are skipped.

    `video_id` is the path below the folder without its suffix, `category` the first sub-folder. Beside `clip.mp4`,
    `clip.txt` holds a title on its first line and then a description; `clip.json` holds any columns but `video_id` and
    `uri` and wins. A link out of the folder is a problem; a link to one of its own sub-folders is passed over, since
    those videos are listed where they lie.
    """
    root = folder.resolve()
    for path in _walk(root, root):
        yield path if isinstance(path, Problem) else _read_video(path, root)


def _walk(folder: Path, root: Path) -> Iterator[Path | Problem]:
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        yield Problem(None, _video_id(folder, root), str(folder), Reason.UNREADABLE, f"{folder}: {error.strerror}.")
        return
    for path in paths:
        if path.name.startswith("."):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path, root)
        elif path.is_dir() or path.suffix.lower() in SUFFIXES:
            if _leads_outside(path, root):
                yield _outside(path, root, link=path)
            elif not path.is_dir():
                yield path


def _read_video(path: Path, root: Path) -> Video | Problem:
    parents = path.relative_to(root).parts[:-1]
    columns: dict[str, Any] = {"category": parents[0] if parents else ""}
    where = path
    for suffix, parse in ((".txt", _parse_text), (".json", _parse_json)):
        sidecar = path.with_suffix(suffix)
        if not sidecar.is_file():
            continue
        if _leads_outside(sidecar, root):
            return _outside(path, root, link=sidecar)
        try:
            columns |= parse(sidecar.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError) as error:
            return invalid_row(_identity(path, root), str(sidecar), None, _in_words(error))
        where = sidecar
    columns["title"] = columns.get("title") or path.stem.replace("_", " ").replace("-", " ")
    return check_row(columns | _identity(path, root), str(where), None)


def _parse_text(text: str) -> dict[str, str]:
    title, _, description = text.strip().partition("\n")
    return {"title": title, "description": description}


def _parse_json(text: str) -> dict[str, Any]:
    columns = json.loads(text)
    if not isinstance(columns, dict):
        raise ValueError('it must hold one JSON object, such as {"title": "A walk"}')
    return {name: value for name, value in columns.items() if value is not None}


def _in_words(error: Exception) -> str:
    match error:
        case UnicodeDecodeError():
            return f"it is not UTF-8 text (byte {error.start})"
        case json.JSONDecodeError():
            return f"it is not valid JSON, {error}"
        case RecursionError():
            return "it is nested too deeply"
    return str(error)


def _identity(path: Path, root: Path) -> dict[str, str]:
    return {"video_id": _video_id(path, root), "uri": str(path)}


def _video_id(path: Path, root: Path) -> str:
    return path.relative_to(root).with_suffix("").as_posix() if path != root else ""


def _leads_outside(path: Path, root: Path) -> bool:
    # Path.resolve raises on a link to itself; realpath does not.
    return path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root)


def _outside(path: Path, root: Path, link: Path) -> Problem:
    return invalid_row(_identity(path, root), str(link), None, f"this link leads out of {root} and is not followed")
