import re
from pathlib import Path

import pyarrow as pa
import pytest

from feature_rows import DIMS, KEY, feature_row, feature_table
from rayreel.encoders.encoder import Modality
from rayreel.failures import Reason
from rayreel.features.key import EncoderKey
from rayreel.features.rows import quarantine_row
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore, NoFeatures, open_store
from rayreel.media.config import SamplingConfig
from rayreel.storage import BrokenFile, Storage

OTHER = EncoderKey(**{**KEY.model_dump(), "sampling": SamplingConfig(frames=2)})
NOTHING = QUARANTINE.empty_table()


@pytest.fixture(params=["folder", "object store"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return Storage(tmp_path / "a=1" if request.param == "folder" else "mock:///bucket/prefix")


@pytest.fixture
def store(storage: Storage) -> FeatureStore:
    store = FeatureStore(storage, KEY)
    store.create()
    return store


def quarantined(video_id: str, version: str = "1") -> pa.Table:
    row = quarantine_row(video_id, f"/films/{video_id}.mp4", version, "decode", Reason.UNREADABLE, "cut short")
    return pa.Table.from_pylist([row], schema=QUARANTINE)


def ids(store: FeatureStore) -> list[str]:
    found: list[str] = store.read(["video_id"])["video_id"].to_pylist()
    return found


def fill(store: FeatureStore, *video_ids: str) -> None:
    store.add(feature_table(*(feature_row(video_id) for video_id in video_ids)), NOTHING)
    store.set_catalog([(video_id, "1") for video_id in video_ids])


def test_reading_returns_the_rows_of_all_files_ordered_by_video_id(store: FeatureStore) -> None:
    rows = [feature_row("b", windows=0), feature_row("c"), feature_row("a", text=False)]
    store.add(feature_table(*rows[:2]), NOTHING)
    store.add(feature_table(rows[2]), NOTHING)
    store.set_catalog([("a", "1"), ("b", "1"), ("c", "1")])
    assert store.read().equals(feature_table(rows[2], *rows[:2]))


def test_reading_returns_the_requested_columns_in_the_requested_order(store: FeatureStore) -> None:
    fill(store, "a")
    assert store.read(["title", "video_id"]).column_names == ["title", "video_id"]
    assert store.read(["title"]).column_names == ["title"]


def test_a_video_removed_from_the_catalog_is_not_read_until_it_is_listed_again(store: FeatureStore) -> None:
    fill(store, "a", "b")
    store.set_catalog([("b", "1")])
    assert ids(store) == ["b"]
    store.set_catalog([("a", "1"), ("b", "1")])
    assert ids(store) == ["a", "b"]


def test_a_changed_video_has_its_new_row_and_the_old_one_after_a_revert(store: FeatureStore) -> None:
    fill(store, "a", "b")
    store.add(feature_table(feature_row("a", version="2", title="new")), NOTHING)
    store.set_catalog([("a", "2"), ("b", "1")])
    assert store.read(["title"])["title"].to_pylist() == ["new", "film b"]
    store.set_catalog([("a", "1"), ("b", "1")])
    assert store.read(["title"])["title"].to_pylist() == ["film a", "film b"]


def test_a_changed_video_is_not_read_before_it_is_extracted(store: FeatureStore) -> None:
    fill(store, "a", "b")
    store.set_catalog([("a", "2"), ("b", "1")])
    assert ids(store) == ["b"]
    assert ("a", "2") not in store.done()


def test_rows_written_twice_by_a_repeated_task_are_read_once(store: FeatureStore) -> None:
    fill(store, "a", "b")
    fill(store, "b", "a")
    store.add(store.schema.empty_table(), quarantined("c"))
    store.add(store.schema.empty_table(), quarantined("c"))
    store.set_catalog([("a", "1"), ("b", "1"), ("c", "1")])
    assert ids(store) == ["a", "b"]
    assert store.read().equals(feature_table(feature_row("a"), feature_row("b")))
    assert store.quarantined()["video_id"].to_pylist() == ["c"]


def test_a_row_of_text_alone_is_read_until_the_video_has_another_row(store: FeatureStore) -> None:
    store.add(feature_table(feature_row("a", version="t", uri="", frames=0, windows=0), feature_row("b")), NOTHING)
    store.set_catalog([("a", "1"), ("a", "t"), ("b", "1"), ("b", "t")])
    assert store.read(["version"])["version"].to_pylist() == ["t", "1"]
    store.add(feature_table(feature_row("a")), NOTHING)
    assert store.read(["version"])["version"].to_pylist() == ["1", "1"]
    assert store.read(["video_id"])["video_id"].to_pylist() == ["a", "b"]


def test_ids_and_versions_with_the_same_concatenation_are_not_confused(store: FeatureStore) -> None:
    store.add(feature_table(feature_row("a", version="11"), feature_row("a1", version="1")), NOTHING)
    store.set_catalog([("a1", "1")])
    assert ids(store) == ["a1"]


def test_done_contains_successes_and_failures_of_every_version(store: FeatureStore) -> None:
    assert store.done() == set()
    fill(store, "a")
    store.add(feature_table(feature_row("a", version="2")), quarantined("b"))
    assert store.done() == {("a", "1"), ("a", "2"), ("b", "1")}


def test_quarantine_contains_only_videos_of_the_current_catalog(store: FeatureStore) -> None:
    assert store.quarantined().num_rows == 0
    store.add(store.schema.empty_table(), quarantined("b"))
    store.add(store.schema.empty_table(), quarantined("c"))
    store.set_catalog([("c", "1")])
    (row,) = store.quarantined().to_pylist()
    assert (row["video_id"], row["reason"], row["stage"]) == ("c", "unreadable", "decode")


def test_adding_nothing_writes_nothing(store: FeatureStore) -> None:
    store.add(store.schema.empty_table(), NOTHING)
    assert store.storage.files(store.storage.path("features", str(KEY)), ".parquet") == []


def test_the_fingerprint_does_not_depend_on_the_layout_of_files(store: FeatureStore) -> None:
    fill(store, "a", "b")
    before = store.fingerprint()
    fill(store, "b", "a")
    assert store.fingerprint() == before
    assert re.fullmatch("[0-9a-f]{16}", before)


def test_the_fingerprint_changes_with_every_kind_of_change(store: FeatureStore) -> None:
    fill(store, "a", "b")
    seen = {store.fingerprint()}
    store.set_catalog([("a", "1")])
    seen.add(store.fingerprint())
    store.add(feature_table(feature_row("a", version="2")), NOTHING)
    store.set_catalog([("a", "2"), ("b", "1")])
    seen.add(store.fingerprint())
    store.add(feature_table(feature_row("a", version="3", content_hash="another file")), NOTHING)
    store.set_catalog([("a", "3"), ("b", "1")])
    seen.add(store.fingerprint())
    assert len(seen) == 4


def test_the_same_rows_under_other_encoders_have_another_fingerprint(store: FeatureStore) -> None:
    other = FeatureStore(store.storage, OTHER)
    other.create()
    fill(store, "a")
    fill(other, "a")
    assert other.fingerprint() != store.fingerprint()


def test_stores_of_different_encoder_keys_do_not_mix(store: FeatureStore) -> None:
    other = FeatureStore(store.storage, OTHER)
    fill(store, "a")
    assert other.done() == set()
    with pytest.raises(NoFeatures):
        other.read()


def test_partially_written_files_are_never_read(tmp_path: Path) -> None:
    store = FeatureStore(Storage(tmp_path), KEY)
    fill(store, "a")
    (written,) = (tmp_path / "features" / str(KEY)).glob("*.parquet")
    (written.parent / "part-killed.parquet.part").write_bytes(written.read_bytes()[:100])
    assert ids(store) == ["a"]
    assert store.done() == {("a", "1")}


def test_a_broken_part_is_reported_by_reads_and_set_aside_by_extraction(tmp_path: Path) -> None:
    store = FeatureStore(Storage(tmp_path), KEY)
    fill(store, "a")
    (kept,) = (tmp_path / "features" / str(KEY)).glob("*.parquet")
    fill(store, "b")
    store.set_catalog([("a", "1"), ("b", "1")])
    (broken,) = set((tmp_path / "features" / str(KEY)).glob("*.parquet")) - {kept}
    broken.write_bytes(b"")
    with pytest.raises(BrokenFile, match=rf"{broken.name} is broken: 0 bytes"):
        store.read()
    assert store.done() == {("a", "1")}, "b will be extracted again"
    assert ids(store) == ["a"]
    assert sorted(path.name for path in broken.parent.glob("part-*")) == sorted([kept.name, f"{broken.name}.broken"])


def test_opening_a_store_with_a_broken_key_reports_the_file(store: FeatureStore) -> None:
    path = store.storage.path("features", str(KEY), "encoders.json")
    store.storage.write(path, b"")
    with pytest.raises(BrokenFile, match=r"encoders\.json is broken"):
        open_store(store.storage, str(KEY))


def test_an_opened_store_equals_the_created_one(store: FeatureStore) -> None:
    fill(store, "a")
    opened = open_store(store.storage, str(KEY))
    assert opened.key == KEY
    assert opened.key.dims[Modality.AUDIO] == DIMS[Modality.AUDIO]
    assert opened.read().equals(store.read())


def test_opening_a_missing_store_lists_the_existing_ones(store: FeatureStore) -> None:
    with pytest.raises(NoFeatures, match=re.escape(f"existing: {KEY}")):
        open_store(store.storage, str(OTHER))


def test_opening_a_store_reports_that_there_are_none(tmp_path: Path) -> None:
    with pytest.raises(NoFeatures, match="existing: none"):
        open_store(Storage(tmp_path), str(KEY))


def test_reading_before_extraction_names_the_command_to_run(store: FeatureStore) -> None:
    with pytest.raises(NoFeatures, match="`rayreel extract"):
        store.read()


def test_reading_a_catalog_of_failures_points_to_the_quarantine(store: FeatureStore) -> None:
    fill(store, "a")
    store.add(store.schema.empty_table(), quarantined("b"))
    store.set_catalog([("b", "1")])
    with pytest.raises(NoFeatures, match="quarantine"):
        store.read()
