"""UCF101: clips of 101 human actions, with the official splits.

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
    """The archive is there, its clips are not."""


@dataclass(frozen=True, slots=True)
class Ucf101:
    """The clips by class and name, and how many were left out, by reason."""

    videos: list[CatalogVideo]
    left_out: Counter[str]


def read_ucf101(clips: Path, splits: Path | None = None, fold: int = 1, classes: Collection[str] = ()) -> Ucf101:
    """Read `clips`/Class/v_Class_gNN_cMM.avi with the official split of a fold (1 to 3).

    `category` is the class, `source` the group `v_Class_gNN`: the clips of one group are cut from one film and stay on
    one side of any split. With `splits` (the folder of trainlist01.txt …) `split` is train or test and `class_index`
    the number of classInd.txt. The title stays empty, since it could only repeat the label. `classes` chooses some
    classes. Clips that are in neither list, and listed ones without a file, are left out and counted. Raises
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
        left_out["listed, but no such file"] = missing
    if not videos:
        raise CatalogError(f"{clips} has no clip Class/v_Class_gNN_cMM.avi of the wanted classes. Give another folder.")
    return Ucf101(videos, left_out)


def read_split(splits: Path, fold: int) -> dict[str, str]:
    """Read which side each clip of a fold is on: `Class/v_Class_gNN_cMM` to train or test.

    Raises CatalogError where a list is missing, or where a group has clips on both sides.
    """
    sides: dict[str, str] = {}
    groups: dict[str, str] = {}
    for side in ("train", "test"):
        for line in _lines(splits / f"{side}list{fold:02d}.txt"):
            name = line.split()[0].rpartition(".")[0]
            clip = _CLIP.fullmatch(name.rpartition("/")[2])
            if clip and groups.setdefault(clip[1], side) != side:
                raise CatalogError(
                    f"{splits} fold {fold} has clips of {clip[1]} on both sides. Take the official lists."
                )
            sides[name] = side
    return sides


def read_classes(splits: Path) -> dict[str, int]:
    """Read classInd.txt: the number of each class, from 1; empty where there is no such file."""
    path = splits / "classInd.txt"
    rows = [line.split() for line in _lines(path)] if path.exists() else []
    if bad := [row for row in rows if len(row) != 2 or not row[0].isdigit()]:
        raise CatalogError(f"{path} holds {' '.join(bad[0])!r}, not a number and a class. Take the official file.")
    return {name: int(number) for number, name in rows}


def find_ucf101(folder: Path) -> tuple[Path, Path | None]:
    """Find the clips' and the splits' folder by their official names; no splits is None.

    Raises NotUnpacked where only the archive is there, which Python cannot open, and CatalogError where nothing is.
    """
    clips, splits, archive = folder / CLIPS_FOLDER, folder / SPLITS_FOLDER, folder / CLIPS.name
    if not clips.is_dir():
        if archive.exists():
            ways = f"unrar x {archive} {folder}/, 7z x {archive} -o{folder} or bsdtar -xf {archive} -C {folder}"
            raise NotUnpacked(f"{archive} is not unpacked, and Python has no way to do it. Run {ways}; then run again.")
        raise CatalogError(f"There is neither {clips} nor {archive}. Download the set (--download), or see {PAGE}.")
    return clips, splits if splits.is_dir() else None


def unpack_splits(archive: Path) -> Path:
    """Unpack the lists beside their archive and return their folder. Raises CatalogError where it cannot be read."""
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
        raise CatalogError(f"{archive} is no zip file ({error}). Delete it and download it again.") from error
    return folder


def _clips(folder: Path, classes: Collection[str]) -> dict[str, Path]:
    if not folder.is_dir():
        raise CatalogError(f"There is no folder {folder}. Give the one that holds the class folders.")
    if unknown := [name for name in classes if not (folder / name).is_dir()]:
        has = ", ".join(sorted(path.name for path in folder.iterdir() if path.is_dir())[:200])
        raise CatalogError(f"{folder} has no class {', '.join(unknown)}. It has {has}.")
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
