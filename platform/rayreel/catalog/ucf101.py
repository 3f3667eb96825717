"""The UCF101 data set: clips of 101 human actions, with the official splits.

Source: Soomro et al. 2012, UCF101: A Dataset of 101 Human Actions Classes From Videos in The Wild.
"""

import re
import zipfile
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from rayreel.catalog.containers import SUFFIXES
from rayreel.catalog.download import RemoteFile
from rayreel.catalog.problem import CatalogError
from rayreel.catalog.video import CatalogVideo

PAGE = "https://www.crcv.ucf.edu/data/UCF101.php"
# The university publishes no checksums; these are torchvision's (torchvision/prototype/datasets/_builtin/ucf101.py).
CLIPS = RemoteFile(
    "https://www.crcv.ucf.edu/data/UCF101/UCF101.rar",
    "ca8dfadb4c891cb11316f94d52b6b0ac2a11994e67a0cae227180cd160bd8e55",
    page=PAGE,
)
SPLITS = RemoteFile(
    "https://www.crcv.ucf.edu/data/UCF101/UCF101TrainTestSplits-RecognitionTask.zip",
    "5c0d1a53b8ed364a2ac830a73f405e51bece7d98ce1254fd19ed4a36b224bd27",
    113_943,
    PAGE,
)
CLIPS_FOLDER, SPLITS_FOLDER = "UCF-101", "ucfTrainTestlist"
_CLIP = re.compile(r"(v_.+_g\d+)_c\d+")


class NotUnpacked(CatalogError):
    """The archive exists but has not been unpacked."""


@dataclass(frozen=True, slots=True)
class Ucf101:
    """The clips sorted by class and name, and how many were left out for which reason."""

    videos: list[CatalogVideo]
    left_out: Counter[str]


def read_ucf101(clips: Path, splits: Path | None = None, fold: int = 1, classes: Collection[str] = ()) -> Ucf101:
    """Read `clips`/Class/v_Class_gNN_cMM.avi with the official split of a fold (1 to 3).

    `category` is the class and `source` the group `v_Class_gNN`: the clips of a group are cut from the same video and
    must be on the same side of a split. With `splits` (the folder of trainlist01.txt …), `split` is train or test and
    `class_index` the number in classInd.txt. The title is empty, because it could only repeat the label. `classes`
    selects classes. Clips in neither list and listed clips without a file are left out and counted. Raises
    CatalogError.
    """
    sides, numbers = (read_split(splits, fold), read_classes(splits)) if splits else ({}, {})
    found = _clips(clips, classes)
    videos, left_out = [], Counter[str]()
    for name, path in found.items():
        group = _CLIP.fullmatch(path.stem)
        if group is None:
            left_out["not named v_Class_gNN_cMM"] += 1
        elif splits and name not in sides:
            left_out[f"in neither list of fold {fold}"] += 1
        else:
            extra = {"source": group[1]} | ({"split": sides[name]} if splits else {})
            number = {"class_index": numbers[path.parent.name]} if path.parent.name in numbers else {}
            videos.append(
                CatalogVideo(video_id=path.stem, uri=str(path), category=path.parent.name, extra={**extra, **number})
            )
    if missing := sum(name not in found for name in sides if not classes or name.partition("/")[0] in classes):
        left_out["listed, but the file is missing"] = missing
    if not videos:
        raise CatalogError(f"{clips} has no clip Class/v_Class_gNN_cMM.avi of these classes. Give another folder.")
    return Ucf101(videos, left_out)


def read_split(splits: Path, fold: int) -> dict[str, str]:
    """Read a fold's lists and return the side of each clip: `Class/v_Class_gNN_cMM` to train or test.

    Raises CatalogError if a list is missing or a group has clips on both sides.
    """
    sides: dict[str, str] = {}
    groups: dict[str, str] = {}
    for side in ("train", "test"):
        for line in _lines(splits / f"{side}list{fold:02d}.txt"):
            name = line.split()[0].rpartition(".")[0]
            clip = _CLIP.fullmatch(name.rpartition("/")[2])
            if clip and groups.setdefault(clip[1], side) != side:
                raise CatalogError(
                    f"{splits} fold {fold} has clips of {clip[1]} on both sides. Use the official lists."
                )
            sides[name] = side
    return sides


def read_classes(splits: Path) -> dict[str, int]:
    """Read classInd.txt and return the number of each class, starting at 1; empty if the file does not exist."""
    path = splits / "classInd.txt"
    rows = [line.split() for line in _lines(path)] if path.exists() else []
    if invalid := [row for row in rows if len(row) != 2 or not row[0].isdigit()]:
        found = " ".join(invalid[0])
        raise CatalogError(f"{path}: expected a number and a class, found {found!r}. Use the official file.")
    return {name: int(number) for number, name in rows}


def find_ucf101(folder: Path) -> tuple[Path, Path | None]:
    """Find the folders of the clips and of the splits (None if missing) by their official names.

    Raises NotUnpacked if there is only the archive, which Python cannot open, and CatalogError if there is neither.
    """
    clips, splits, archive = folder / CLIPS_FOLDER, folder / SPLITS_FOLDER, folder / CLIPS.name
    if not clips.is_dir():
        if archive.exists():
            ways = f"unrar x {archive} {folder}/, 7z x {archive} -o{folder} or bsdtar -xf {archive} -C {folder}"
            raise NotUnpacked(f"{archive} is not unpacked, and Python cannot open .rar files. Run {ways}; then retry.")
        raise CatalogError(f"Neither {clips} nor {archive} exists. Download the set (--download), or see {PAGE}.")
    return clips, splits if splits.is_dir() else None


def unpack_splits(archive: Path) -> Path:
    """Unpack the lists next to their archive and return their folder. Raises CatalogError if it cannot be read."""
    folder = archive.parent / SPLITS_FOLDER
    try:
        with zipfile.ZipFile(archive) as content:
            lists = [
                name for name in content.namelist() if name.startswith(f"{SPLITS_FOLDER}/") and name.endswith(".txt")
            ]
            folder.mkdir(exist_ok=True)
            for name in lists:
                (folder / Path(name).name).write_bytes(content.read(name))
    except zipfile.BadZipFile as error:
        raise CatalogError(f"{archive} is not a zip file ({error}). Delete it and download it again.") from error
    return folder


def _clips(folder: Path, classes: Collection[str]) -> dict[str, Path]:
    if not folder.is_dir():
        raise CatalogError(f"The folder {folder} does not exist. Give the folder that contains the class folders.")
    if unknown := [name for name in classes if not (folder / name).is_dir()]:
        known = ", ".join(sorted(path.name for path in folder.iterdir() if path.is_dir())[:200])
        raise CatalogError(f"{folder} has no class {', '.join(unknown)}. Choose from {known}.")
    paths = sorted(path for path in folder.resolve().glob("*/*") if path.suffix.lower() in SUFFIXES)
    return {f"{path.parent.name}/{path.stem}": path for path in paths if not classes or path.parent.name in classes}


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(
            f"{path} cannot be read: {error}. Download the official split files: {SPLITS.url}"
        ) from error
    return [line for line in text.splitlines() if line.strip()]
