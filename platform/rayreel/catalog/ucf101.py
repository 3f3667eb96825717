"""The UCF101 data set: clips of 101 human actions, with the official splits.

Source: Soomro et al. 2012, UCF101: A Dataset of 101 Human Actions Classes From Videos in The Wild.
"""

import re
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rayreel.catalog.containers import SUFFIXES
from rayreel.catalog.download import RemoteFile
from rayreel.catalog.problem import CatalogError
from rayreel.catalog.subset import Subset
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
# The same clips as one zip file, of which parts can be read; used by TensorFlow's video tutorial. Size and sha256 are
# TensorFlow Datasets' (url_checksums/ucf101.txt). Its clips are UCF101/v_Class_gNN_cMM.avi, without class folders.
ZIP = RemoteFile(
    "https://storage.googleapis.com/thumos14_files/UCF101_videos.zip",
    "dabf56f573cd19c79e096563529fec8126a2a34e18e10c72eb621dd687532b0d",
    6_960_400_115,
    PAGE,
)
CLIPS_FOLDER, SPLITS_FOLDER = "UCF-101", "ucfTrainTestlist"
_CLIP = re.compile(r"(v_.+_g(\d+))_c\d+")
# Stricter, because the class in a file's name becomes the name of a folder.
_MEMBER = re.compile(r"v_(\w+)_g\d+_c\d+", re.ASCII)
# The only class whose folder is spelt differently from its clips.
_FOLDERS = {"HandStandPushups": "HandstandPushups"}
_TEST_GROUPS = 7


class NotUnpacked(CatalogError):
    """The archive exists but has not been unpacked."""


@dataclass(frozen=True, slots=True)
class Ucf101:
    """The clips sorted by class and name, and how many were left out for which reason."""

    videos: list[CatalogVideo]
    left_out: Counter[str]


def read_ucf101(clips: Path, splits: Path | None = None, fold: int = 1, subset: Subset | None = None) -> Ucf101:
    """Read `clips`/Class/v_Class_gNN_cMM.avi with the split of a fold (1 to 3).

    `category` is the class and `source` the group `v_Class_gNN`: the clips of a group are cut from the same video and
    must be on the same side of a split. `split` is train or test: as in the official lists in `splits` (the folder of
    trainlist01.txt …) or, without them, by the group's number (`side_of_group`), which gives the same. With the lists,
    `class_index` is the number in classInd.txt. The title is empty, because it could only repeat the label. Clips in
    neither list, listed clips without a file and clips beyond `subset` are left out and counted. Raises CatalogError.
    """
    sides, numbers = (read_split(splits, fold), read_classes(splits)) if splits else ({}, {})
    found = _clips(clips)
    names = sides or [name for name, path in found.items() if _CLIP.fullmatch(path.stem)]
    wanted = set((subset or Subset()).choose(names))
    videos, left_out = [], Counter[str]()
    for name, path in found.items():
        group = _CLIP.fullmatch(path.stem)
        if group is None:
            left_out["not named v_Class_gNN_cMM"] += 1
        elif splits and name not in sides:
            left_out[f"in neither list of fold {fold}"] += 1
        elif name in wanted:
            extra = {"source": group[1], "split": sides.get(name) or side_of_group(int(group[2]), fold)}
            number = {"class_index": numbers[path.parent.name]} if path.parent.name in numbers else {}
            videos.append(
                CatalogVideo(video_id=path.stem, uri=str(path), category=path.parent.name, extra={**extra, **number})
            )
        else:
            left_out["not chosen"] += 1
    if missing := len(wanted - found.keys()):
        left_out["listed, but the file is missing"] = missing
    if not videos:
        raise CatalogError(f"{clips} has no clip Class/v_Class_gNN_cMM.avi of these classes. Give another folder.")
    return Ucf101(videos, left_out)


def side_of_group(group: int, fold: int) -> str:
    """Return train or test: fold 1 tests groups 1 to 7 of every class, fold 2 groups 8 to 14, fold 3 groups 15 to 21.

    The official lists follow this rule without exception.
    """
    return "test" if (fold - 1) * _TEST_GROUPS < group <= fold * _TEST_GROUPS else "train"


def clip_name(file: str) -> str | None:
    """Return `Class/v_Class_gNN_cMM` of a file in any folder, by its name; None if it is not a clip."""
    path = PurePosixPath(file)
    clip = _MEMBER.fullmatch(path.stem) if path.suffix.lower() in SUFFIXES else None
    return f"{_FOLDERS.get(clip[1], clip[1])}/{path.stem}" if clip else None


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
        raise CatalogError(
            f"Neither {clips} nor {archive} exists. Download the set (--download), or a part of it (--download "
            f"--max-classes 10 --max-clips 50), or see {PAGE}."
        )
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


def _clips(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise CatalogError(f"The folder {folder} does not exist. Give the folder that contains the class folders.")
    paths = sorted(path for path in folder.resolve().glob("*/*") if path.suffix.lower() in SUFFIXES)
    return {f"{path.parent.name}/{path.stem}": path for path in paths}


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(
            f"{path} cannot be read: {error}. Download the official split files: {SPLITS.url}"
        ) from error
    return [line for line in text.splitlines() if line.strip()]
