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


def test_rows_of_all_files_come_back_whole_and_ordered_by_video_id(store: FeatureStore) -> None:
    rows = [feature_row("b", windows=0), feature_row("c"), feature_row("a", text=False)]
    store.add(feature_table(*rows[:2]), NOTHING)
    store.add(feature_table(rows[2]), NOTHING)
    store.set_catalog([("a", "1"), ("b", "1"), ("c", "1")])
    assert store.read().equals(feature_table(rows[2], *rows[:2]))


def test_only_the_columns_asked_for_come_back_in_the_order_asked_for(store: FeatureStore) -> None:
    fill(store, "a")
    assert store.read(["title", "video_id"]).column_names == ["title", "video_id"]
    assert store.read(["title"]).column_names == ["title"]


def test_a_video_that_left_the_catalog_drops_out_and_comes_back(store: FeatureStore) -> None:
    fill(store, "a", "b")
    store.set_catalog([("b", "1")])
    assert ids(store) == ["b"]
    store.set_catalog([("a", "1"), ("b", "1")])
    assert ids(store) == ["a", "b"]


def test_a_changed_video_gives_its_new_row_and_the_old_one_when_changed_back(store: FeatureStore) -> None:
    fill(store, "a", "b")
    store.add(feature_table(feature_row("a", version="2", title="new")), NOTHING)
    store.set_catalog([("a", "2"), ("b", "1")])
    assert store.read(["title"])["title"].to_pylist() == ["new", "film b"]
    store.set_catalog([("a", "1"), ("b", "1")])
    assert store.read(["title"])["title"].to_pylist() == ["film a", "film b"]


def test_a_changed_video_not_yet_extracted_is_out_of_every_read(store: FeatureStore) -> None:
    fill(store, "a", "b")
    store.set_catalog([("a", "2"), ("b", "1")])
    assert ids(store) == ["b"]
    assert ("a", "2") not in store.done()


def test_rows_that_a_repeated_task_wrote_twice_count_once(store: FeatureStore) -> None:
    fill(store, "a", "b")
    fill(store, "b", "a")
    store.add(store.schema.empty_table(), quarantined("c"))
    store.add(store.schema.empty_table(), quarantined("c"))
    store.set_catalog([("a", "1"), ("b", "1"), ("c", "1")])
    assert ids(store) == ["a", "b"]
    assert store.read().equals(feature_table(feature_row("a"), feature_row("b")))
    assert store.quarantined()["video_id"].to_pylist() == ["c"]


def test_ids_and_versions_that_run_together_are_not_mixed_up(store: FeatureStore) -> None:
    store.add(feature_table(feature_row("a", version="11"), feature_row("a1", version="1")), NOTHING)
    store.set_catalog([("a1", "1")])
    assert ids(store) == ["a1"]


def test_done_knows_successes_and_failures_of_every_version(store: FeatureStore) -> None:
    assert store.done() == set()
    fill(store, "a")
    store.add(feature_table(feature_row("a", version="2")), quarantined("b"))
    assert store.done() == {("a", "1"), ("a", "2"), ("b", "1")}


def test_quarantine_shows_the_current_catalog_only(store: FeatureStore) -> None:
    assert store.quarantined().num_rows == 0
    store.add(store.schema.empty_table(), quarantined("b"))
    store.add(store.schema.empty_table(), quarantined("c"))
    store.set_catalog([("c", "1")])
    (row,) = store.quarantined().to_pylist()
    assert (row["video_id"], row["reason"], row["stage"]) == ("c", "unreadable", "decode")


def test_adding_nothing_writes_nothing(store: FeatureStore) -> None:
    store.add(store.schema.empty_table(), NOTHING)
    assert store.storage.files(store.storage.path("features", str(KEY)), ".parquet") == []


def test_the_fingerprint_stays_with_the_rows_whatever_files_hold_them(store: FeatureStore) -> None:
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


def test_the_same_rows_of_other_encoders_have_another_fingerprint(store: FeatureStore) -> None:
    other = FeatureStore(store.storage, OTHER)
    other.create()
    fill(store, "a")
    fill(other, "a")
    assert other.fingerprint() != store.fingerprint()


def test_stores_of_two_encoder_keys_do_not_mix(store: FeatureStore) -> None:
    other = FeatureStore(store.storage, OTHER)
    fill(store, "a")
    assert other.done() == set()
    with pytest.raises(NoFeatures):
        other.read()


def test_no_half_written_file_is_ever_among_the_rows(tmp_path: Path) -> None:
    store = FeatureStore(Storage(tmp_path), KEY)
    fill(store, "a")
    (written,) = (tmp_path / "features" / str(KEY)).glob("*.parquet")
    (written.parent / "part-killed.parquet.part").write_bytes(written.read_bytes()[:100])
    assert ids(store) == ["a"]
    assert store.done() == {("a", "1")}


def test_a_broken_part_is_named_by_reads_and_set_aside_by_extraction(tmp_path: Path) -> None:
    store = FeatureStore(Storage(tmp_path), KEY)
    fill(store, "a")
    (kept,) = (tmp_path / "features" / str(KEY)).glob("*.parquet")
    fill(store, "b")
    store.set_catalog([("a", "1"), ("b", "1")])
    (broken,) = set((tmp_path / "features" / str(KEY)).glob("*.parquet")) - {kept}
    broken.write_bytes(b"")
    with pytest.raises(BrokenFile, match=rf"{broken.name} is broken: 0 bytes"):
        store.read()
    assert store.done() == {("a", "1")}, "b is extracted again"
    assert ids(store) == ["a"]
    assert sorted(path.name for path in broken.parent.glob("part-*")) == sorted([kept.name, f"{broken.name}.broken"])


def test_a_store_whose_key_is_broken_says_so(store: FeatureStore) -> None:
    path = store.storage.path("features", str(KEY), "encoders.json")
    store.storage.write(path, b"")
    with pytest.raises(BrokenFile, match=r"encoders\.json is broken"):
        open_store(store.storage, str(KEY))


def test_an_opened_store_is_the_one_that_was_created(store: FeatureStore) -> None:
    fill(store, "a")
    opened = open_store(store.storage, str(KEY))
    assert opened.key == KEY
    assert opened.key.dims[Modality.AUDIO] == DIMS[Modality.AUDIO]
    assert opened.read().equals(store.read())


def test_a_store_that_is_not_there_is_answered_with_those_that_are(store: FeatureStore) -> None:
    with pytest.raises(NoFeatures, match=re.escape(f"existing: {KEY}")):
        open_store(store.storage, str(OTHER))


def test_without_any_store_the_answer_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoFeatures, match="existing: none"):
        open_store(Storage(tmp_path), str(KEY))


def test_reading_before_any_extraction_says_what_to_run(store: FeatureStore) -> None:
    with pytest.raises(NoFeatures, match=r"jobs/extract\.py"):
        store.read()


def test_a_catalog_of_failures_alone_has_no_features_and_names_the_quarantine(store: FeatureStore) -> None:
    fill(store, "a")
    store.add(store.schema.empty_table(), quarantined("b"))
    store.set_catalog([("b", "1")])
    with pytest.raises(NoFeatures, match="quarantine"):
        store.read()
