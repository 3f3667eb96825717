from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from rayreel.catalog.video import CatalogVideo
from rayreel.errors import RayreelError
from rayreel.evaluation.config import SplitConfig
from rayreel.storage import Storage
from rayreel.training.action.clips import CLIPS, ClipStore
from rayreel.training.action.config import ActionConfig
from rayreel.training.action.data import check_clips, draw_windows, list_clips, load_clips, source_of
from rayreel.training.action.loop import ActionJob

TINY = ActionConfig(network={"frames": 2, "stride": 1, "size": 16, "channels": (8,)}, windows=2)
SPLITS = SplitConfig(validation=0.25, test=0.25)


def video(name: str, category: str = "Jump", **extra: str) -> CatalogVideo:
    return CatalogVideo(video_id=name, uri=f"/films/{category}/{name}.avi", category=category, extra=extra)


def ucf_videos(classes: int = 3, groups: int = 12, pieces: int = 4) -> list[CatalogVideo]:
    kinds = [f"Kind{number}" for number in range(classes)]
    return [
        video(f"v_{kind}_g{group:02d}_c{piece:02d}", kind)
        for kind in kinds
        for group in range(1, groups + 1)
        for piece in range(1, pieces + 1)
    ]


def fill(store: ClipStore, listed: pa.Table, digests: list[str] | None = None) -> None:
    """Clips whose pixel values are their row numbers."""
    rows = listed.num_rows
    cells = [np.full((2, 2, 16, 16, 3), row % 256, dtype=np.uint8).tobytes() for row in range(rows)]
    digests = digests or [f"digest {row}" for row in range(rows)]
    columns = [listed["video_id"], listed["version"], digests, [2] * rows, cells]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, CLIPS) as writer:
        writer.write_table(pa.table(columns, schema=CLIPS))
    Storage(store.root).write(f"{store.folder}/part-0.arrow", sink.getvalue().to_pybytes())


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("v_ApplyEyeMakeup_g07_c03", "v_ApplyEyeMakeup_g07"),
        ("ApplyEyeMakeup/v_ApplyEyeMakeup_g25_c01", "v_ApplyEyeMakeup_g25"),
        ("v_HandstandPushups_g01_c01.avi", "v_HandstandPushups_g01"),
        ("v_Jump_g07", None),
        ("holiday_g07_c03", None),
    ],
)
def test_clips_of_one_recording_are_recognised_by_name(name: str, source: str | None) -> None:
    assert source_of(CatalogVideo(video_id=name, uri="/films/x.avi"), "source") == source


def test_the_file_name_is_used_if_the_id_has_no_recording() -> None:
    assert (
        source_of(CatalogVideo(video_id="7", uri="https://x.example/v_Jump_g02_c04.avi?k=1"), "source") == "v_Jump_g02"
    )


def test_the_catalog_column_takes_precedence() -> None:
    assert source_of(video("v_Jump_g07_c03", source="camera 3"), "source") == "camera 3"
    assert source_of(video("v_Jump_g07_c03", source=""), "source") == "v_Jump_g07"
    assert source_of(video("v_Jump_g07_c03"), "category") == "Jump"


def test_no_recording_is_on_two_sides_and_no_clip_is_lost(tmp_path: Path) -> None:
    listed = list_clips(ucf_videos(), SPLITS.group_by)
    store = ClipStore(str(tmp_path), TINY)
    fill(store, listed)
    data = load_clips(listed, store, SPLITS)
    sides = [
        {listed["of"][int(row)].as_py() for row in rows}
        for rows in (data.split.train, data.split.validation, data.split.test)
    ]
    assert all(sides)
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    assert sum(map(len, sides)) == 36
    assert sum(map(sum, data.counts().values())) == 144


def test_copies_of_one_file_stay_together_under_any_name(tmp_path: Path) -> None:
    videos = [video(f"v_Jump_g{group:02d}_c01") for group in range(1, 41)]
    listed = list_clips(videos, SPLITS.group_by)
    store = ClipStore(str(tmp_path), TINY)
    fill(store, listed, [f"digest {row // 2}" for row in range(40)])
    split = load_clips(listed, store, SPLITS).split
    for rows in (split.train, split.validation, split.test):
        assert {row // 2 for row in rows} == {row // 2 for row in rows if row ^ 1 in rows}


def test_official_test_clips_are_the_test_part_and_validation_comes_from_the_rest(tmp_path: Path) -> None:
    sides = [
        each.model_copy(update={"extra": {"split": "test" if int(each.video_id[-6:-4]) <= 3 else "train"}})
        for each in ucf_videos()
    ]
    listed = list_clips(sides, SPLITS.group_by)
    store = ClipStore(str(tmp_path), TINY)
    fill(store, listed)
    split = load_clips(listed, store, SPLITS).split
    assert [int(listed["video_id"][int(row)].as_py()[-6:-4]) <= 3 for row in split.test] == [True] * 36
    assert len(split.train) + len(split.validation) == 108
    groups = [{listed["of"][int(row)].as_py() for row in rows} for rows in (split.train, split.validation)]
    assert groups[1]
    assert not groups[0] & groups[1]


def test_clips_are_loaded_in_list_order_and_missing_ones_are_left_out(tmp_path: Path) -> None:
    videos = ucf_videos(classes=2, groups=3, pieces=2)
    store = ClipStore(str(tmp_path), TINY)
    listed = list_clips(videos, SPLITS.group_by)
    fill(store, listed)
    shuffled = list_clips([*reversed(videos[1:]), video("new", "Kind0")], SPLITS.group_by)
    data = load_clips(shuffled, store, SPLITS)
    assert [int(clip[0, 0, 0, 0, 0]) for clip in data.clips] == list(range(11, 0, -1))
    assert data.labels_N.tolist() == [1] * 6 + [0] * 5


def test_videos_without_any_category_are_rejected() -> None:
    with pytest.raises(RayreelError, match="category"):
        list_clips([video("a", "")], "source")


def test_a_class_without_training_clips_is_left_out(tmp_path: Path) -> None:
    listed = list_clips([video("v_Rare_g01_c01", "Bare"), *ucf_videos(classes=2)], SPLITS.group_by)
    fill(ClipStore(str(tmp_path), TINY), listed)
    outcomes = set()
    for seed in range(20):
        data = ActionJob(str(tmp_path), listed, TINY, SPLITS.model_copy(update={"seed": seed})).load()
        check_clips(data)
        outcomes.add(data.left_out)
        assert sum(map(sum, data.counts().values())) == len(data.clips) == 97 - len(data.left_out)
        for row in data.split.test:  # a clip's pixel values are its row in the list
            listed_row = int(data.clips[row][0, 0, 0, 0, 0])
            assert listed["category"][listed_row].as_py() == data.classes[data.labels_N[row]]
    assert outcomes == {(), ("Bare",)}


def test_a_single_class_and_missing_validation_clips_are_rejected(tmp_path: Path) -> None:
    one, two = (list_clips(ucf_videos(classes=classes), SPLITS.group_by) for classes in (1, 2))
    fill(ClipStore(str(tmp_path), TINY), two)
    with pytest.raises(RayreelError, match="at least two"):
        check_clips(load_clips(one, ClipStore(str(tmp_path), TINY), SPLITS))
    with pytest.raises(RayreelError, match="validation"):
        check_clips(load_clips(two, ClipStore(str(tmp_path), TINY), SplitConfig(validation=0)))


def test_augmentation_does_not_depend_on_the_worker(tmp_path: Path) -> None:
    listed = list_clips(ucf_videos(), SPLITS.group_by)
    store = ClipStore(str(tmp_path), TINY)
    fill(store, listed)
    data = load_clips(listed, store, SPLITS)
    batch = data.split.train[:5]
    whole = draw_windows(data, batch, np.arange(5), TINY, [0, 1, 2])
    parts = [draw_windows(data, batch, np.array(mine), TINY, [0, 1, 2]) for mine in ([0, 1, 2], [3, 4])]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    assert whole[:, 0, 0, 0, 0].tolist() == [row % 256 for row in batch]
