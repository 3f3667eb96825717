"""A small UCF101: two classes with three groups each."""

import zipfile
from collections import Counter
from pathlib import Path

import pytest

from rayreel.catalog.problem import CatalogError
from rayreel.catalog.subset import Subset
from rayreel.catalog.ucf101 import (
    NotUnpacked,
    find_ucf101,
    read_classes,
    read_split,
    read_ucf101,
    side_of_group,
    unpack_splits,
)

# In the original too, the capitalization of this class differs between its folder and its clips.
CLASSES = {"Archery": "Archery", "HandstandPushups": "HandStandPushups"}


def clip(name: str, group: int, number: int) -> str:
    return f"{name}/v_{CLASSES[name]}_g{group:02d}_c{number:02d}.avi"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A set in which group 1 of each class is the test side. The lists have CRLF, like the official ones."""
    splits = tmp_path / "ucfTrainTestlist"
    splits.mkdir()
    (splits / "classInd.txt").write_text("1 Archery\r\n2 HandstandPushups\r\n")
    train: list[str] = []
    test: list[str] = []
    for number, name in enumerate(CLASSES, start=1):
        for group in (1, 2, 3):
            for cut in (1, 2):
                path = tmp_path / "UCF-101" / clip(name, group, cut)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
                line = clip(name, group, cut)
                (test if group == 1 else train).append(line if group == 1 else f"{line} {number}")
    (splits / "trainlist01.txt").write_text("\r\n".join(train) + "\r\n")
    (splits / "testlist01.txt").write_text("\r\n".join(test) + "\r\n")
    return tmp_path


def test_a_clip_has_its_class_group_and_official_side(folder: Path) -> None:
    read = read_ucf101(*find_ucf101(folder))
    assert len(read.videos) == 12 and not read.left_out
    clips = {video.video_id: video for video in read.videos}
    pushup = clips["v_HandStandPushups_g01_c02"]
    assert pushup.category == "HandstandPushups"
    assert pushup.extra == {"source": "v_HandStandPushups_g01", "split": "test", "class_index": 2}
    assert pushup.uri == str(folder / "UCF-101" / clip("HandstandPushups", 1, 2))
    assert Counter(video.extra["split"] for video in read.videos) == {"train": 8, "test": 4}


def test_texts_do_not_contain_the_class(folder: Path) -> None:
    assert {video.text() for video in read_ucf101(*find_ucf101(folder)).videos} == {""}


def test_no_group_is_on_both_sides(folder: Path) -> None:
    sides: dict[object, set[object]] = {}
    for video in read_ucf101(*find_ucf101(folder)).videos:
        sides.setdefault(video.extra["source"], set()).add(video.extra["split"])
    assert len(sides) == 6 and all(len(side) == 1 for side in sides.values())


def test_lists_that_split_a_group_are_rejected(folder: Path) -> None:
    lists = folder / "ucfTrainTestlist"
    (lists / "testlist01.txt").write_text(clip("Archery", 2, 2) + "\n")
    with pytest.raises(CatalogError, match="clips of v_Archery_g02 on both sides"):
        read_split(lists, 1)


def test_clips_left_out_are_counted_by_reason(folder: Path) -> None:
    clips = folder / "UCF-101"
    (clips / clip("Archery", 3, 2)).unlink()
    (clips / clip("Archery", 4, 1)).touch()
    (clips / "Archery" / "holiday.avi").touch()
    (clips / "Archery" / "notes.txt").touch()
    read = read_ucf101(*find_ucf101(folder))
    assert read.left_out == {
        "listed, but the file is missing": 1,
        "in neither list of fold 1": 1,
        "not named v_Class_gNN_cMM": 1,
    }
    assert len(read.videos) == 11


def test_without_lists_every_clip_is_included_and_the_groups_number_decides_on_its_side(folder: Path) -> None:
    (folder / "UCF-101" / clip("Archery", 9, 1)).touch()
    sides = {video.extra["source"]: video.extra["split"] for video in read_ucf101(folder / "UCF-101", fold=2).videos}
    assert len(read_ucf101(folder / "UCF-101").videos) == 13
    assert sides == {
        **{f"v_{name}_g0{group}": "train" for name in CLASSES.values() for group in (1, 2, 3)},
        "v_Archery_g09": "test",
    }


def test_the_folds_test_three_times_seven_of_the_25_groups() -> None:
    tested = [[group for group in range(1, 26) if side_of_group(group, fold) == "test"] for fold in (1, 2, 3)]
    assert tested == [[*range(1, 8)], [*range(8, 15)], [*range(15, 22)]]


def test_classes_and_clips_can_be_chosen(folder: Path) -> None:
    read = read_ucf101(*find_ucf101(folder), subset=Subset(("Archery",), max_clips=3))
    assert {video.category for video in read.videos} == {"Archery"}
    assert len(read.videos) == 3 and read.left_out == {"not chosen": 9}
    assert {video.extra["source"] for video in read.videos} == {f"v_Archery_g0{group}" for group in (1, 2, 3)}
    with pytest.raises(CatalogError, match=r"no class Chess\. Choose from Archery, HandstandPushups"):
        read_ucf101(*find_ucf101(folder), subset=Subset(("Chess",)))


def test_a_fold_without_lists_raises_an_error_with_their_url(folder: Path) -> None:
    with pytest.raises(CatalogError, match=r"trainlist03\.txt cannot be read: .*UCF101TrainTestSplits"):
        read_ucf101(*find_ucf101(folder), fold=3)


def test_class_numbers_may_be_missing_but_not_invalid(folder: Path) -> None:
    path = folder / "ucfTrainTestlist" / "classInd.txt"
    path.write_text("Archery 1\n")
    with pytest.raises(CatalogError, match="found 'Archery 1'"):
        read_classes(path.parent)
    path.unlink()
    assert read_classes(path.parent) == {}


def test_an_archive_that_is_not_unpacked_raises_an_error_with_the_commands_to_unpack_it(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"Neither .* exists"):
        find_ucf101(tmp_path)
    (tmp_path / "UCF101.rar").touch()
    with pytest.raises(NotUnpacked, match=r"unrar x .*UCF101\.rar .*7z x .* or bsdtar -xf"):
        find_ucf101(tmp_path)


def test_the_lists_are_unpacked_next_to_their_archive(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "other" / "lists.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as content:
        for path in (folder / "ucfTrainTestlist").iterdir():
            content.write(path, f"ucfTrainTestlist/{path.name}")
        content.writestr("ucfTrainTestlist/../../escaped.txt", "")
    unpacked = unpack_splits(archive)
    assert read_split(unpacked, 1) == read_split(folder / "ucfTrainTestlist", 1)
    assert not (tmp_path / "escaped.txt").exists()
    archive.write_bytes(b"<html>")
    with pytest.raises(CatalogError, match="is not a zip file"):
        unpack_splits(archive)
