"""Amendments: changes of single videos over the API override the catalog."""

import itertools
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Self

import pyarrow as pa
import pytest

from feature_rows import KEY, feature_row, feature_table
from rayreel.catalog.read import Catalog
from rayreel.catalog.video import CatalogVideo
from rayreel.encoders.config import EncodersConfig
from rayreel.features import amend as module
from rayreel.features.amend import AMENDMENTS, Amendments
from rayreel.features.config import ExtractConfig
from rayreel.features.extract import ExtractionPlan, extract, set_planned_catalog
from rayreel.features.key import EncoderKey
from rayreel.features.pipeline import Pipeline
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore
from rayreel.features.version import version_of
from rayreel.media.config import Limits, SamplingConfig
from rayreel.parts import parquet_bytes
from rayreel.storage import Storage

OTHER = EncoderKey(**{**KEY.model_dump(), "sampling": SamplingConfig(frames=2)})


@pytest.fixture(params=["folder", "object store"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return Storage(tmp_path / "a=1" if request.param == "folder" else "mock:///bucket/prefix")


@pytest.fixture
def store(storage: Storage) -> FeatureStore:
    """A store with the videos a and b of its catalog."""
    store = FeatureStore(storage, KEY)
    store.create()
    extracted(store, "a", "b")
    store.set_catalog([("a", "1"), ("b", "1")])
    return store


def extracted(store: FeatureStore, *video_ids: str, version: str = "1") -> None:
    rows = [feature_row(video_id, version=version, title=f"{video_id}{version}") for video_id in video_ids]
    store.add(feature_table(*rows), QUARANTINE.empty_table())


def titles(store: FeatureStore) -> list[str]:
    found: list[str] = store.read(["title"])["title"].to_pylist()
    return found


def catalog(*video_ids: str) -> Catalog:
    return Catalog("here", [CatalogVideo(video_id=video_id, uri=f"s3://films/{video_id}") for video_id in video_ids])


def test_an_added_video_is_read_even_if_no_catalog_lists_it(store: FeatureStore) -> None:
    extracted(store, "c")
    assert titles(store) == ["a1", "b1"]
    store.amend(added=[("c", "1")])
    assert titles(store) == ["a1", "b1", "c1"]
    store.set_catalog([("b", "1")])
    assert titles(store) == ["b1", "c1"]


def test_an_added_version_replaces_the_version_in_the_catalog(store: FeatureStore) -> None:
    extracted(store, "a", version="2")
    store.amend(added=[("a", "2")])
    assert titles(store) == ["a2", "b1"]


def test_a_deleted_video_stays_deleted_even_if_a_catalog_lists_it_until_it_is_added_again(store: FeatureStore) -> None:
    store.amend(deleted=["a"])
    assert titles(store) == ["b1"]
    extracted(store, "a", version="2")
    store.set_catalog([("a", "2"), ("b", "1")])
    assert titles(store) == ["b1"]
    store.amend(added=[("a", "2")])
    assert titles(store) == ["a2", "b1"]


def test_a_deleted_video_is_also_deleted_under_other_encoders(store: FeatureStore) -> None:
    other = FeatureStore(store.storage, OTHER)
    extracted(other, "a", "b")
    store.amend(deleted=["a"])
    assert titles(other) == ["b1"]


def test_amendments_change_the_fingerprint(store: FeatureStore) -> None:
    before = store.fingerprint()
    store.amend(deleted=["a"])
    without = store.fingerprint()
    store.amend(added=[("a", "1")])
    assert without != before == store.fingerprint()


def test_a_store_works_with_amendments_and_no_catalog(storage: Storage) -> None:
    store = FeatureStore(storage, KEY)
    extracted(store, "a")
    store.amend(added=[("a", "1")])
    assert titles(store) == ["a1"]


def test_many_amendments_are_merged_into_few_files_and_the_latest_per_video_wins(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FILES", 4)
    amendments = Amendments(storage)
    for version, video_id in itertools.product("1234", "abc"):
        amendments.add([(video_id, version)], [])
    amendments.add([], ["b"])
    assert len(storage.files(amendments.folder, ".parquet")) <= 5
    assert amendments.read() == {"a": "4", "b": None, "c": "4"}


def test_a_killed_merge_changes_nothing(storage: Storage) -> None:
    amendments = Amendments(storage)
    amendments.add([("a", "1")], [])
    amendments.add([], ["a"])
    sources = {path: storage.read(path) for path in storage.files(amendments.folder, ".parquet")}
    amendments.compact()
    for path, content in sources.items():
        assert content is not None
        storage.write(path, content)
    assert amendments.read() == {"a": None}


def test_amendments_are_ordered_by_number_even_if_clocks_disagree(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime):
        """The clock of a machine that is an hour ahead, then of one that is right."""

        ahead = timedelta(hours=1)

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + cls.ahead

    monkeypatch.setattr(module, "datetime", Clock)
    amendments = Amendments(storage)
    amendments.add([("a", "1")], [])
    Clock.ahead = timedelta()
    amendments.add([], ["a"])
    assert amendments.read() == {"a": None}
    amendments.compact()
    assert amendments.read() == {"a": None}


def test_unnumbered_amendment_files_come_first_and_are_ordered_by_time(storage: Storage) -> None:
    amendments = Amendments(storage)
    for name, version, second in (("b", "1", 1), ("a", "2", 2)):
        row = {
            "video_id": "x",
            "version": version,
            "deleted": False,
            "at": datetime(2026, 1, 1, second=second, tzinfo=UTC),
        }
        content = parquet_bytes(pa.Table.from_pylist([row], schema=AMENDMENTS))
        storage.write(f"{amendments.folder}/amendment-{name}.parquet", content)
    assert amendments.read() == {"x": "2"}
    amendments.add([("x", "3")], [])
    assert amendments.read() == {"x": "3"}


def test_adding_nothing_writes_nothing(storage: Storage) -> None:
    Amendments(storage).add([], [])
    assert storage.files(Amendments(storage).folder, "") == []


def test_extraction_skips_videos_deleted_or_replaced_over_the_api(store: FeatureStore) -> None:
    store.amend(deleted=["a"], added=[("b", "by hand")])
    plan = ExtractionPlan.of(catalog("a", "b", "c"), store, retry_quarantined=False)
    assert [video.video_id for video in plan.todo] == ["c"]
    assert plan.amended == {"deleted": 1, "replaced": 1}


def test_the_extraction_report_counts_amended_rows(store: FeatureStore, tmp_path: Path) -> None:
    store.amend(deleted=["a"], added=[("b", "by hand")])
    pipeline = Pipeline(EncodersConfig(), Limits(), ExtractConfig(), tmp_path)
    report = extract(catalog("a", "b"), store, pipeline)
    assert (report.rows, report.deleted, report.replaced) == (2, 1, 1)
    assert (report.extracted, report.unchanged, report.quarantined) == (0, 0, 0)


def test_a_video_added_in_the_version_of_the_catalog_is_unchanged(store: FeatureStore) -> None:
    (video,) = catalog("a").videos
    extracted(store, "a", version=version_of(video))
    store.amend(added=[("a", version_of(video))])
    plan = ExtractionPlan.of(catalog("a"), store, retry_quarantined=False)
    assert (plan.todo, plan.amended.total()) == ([], 0)


def test_adding_a_catalog_keeps_the_current_one_and_restores_deleted_videos(store: FeatureStore) -> None:
    store.amend(deleted=["b"])
    new = catalog("b", "c")
    plan = ExtractionPlan.of(new, store, retry_quarantined=False, adding=True)
    assert [video.video_id for video in plan.todo] == ["b", "c"]
    set_planned_catalog(store, plan, adding=True)
    for video in plan.todo:
        extracted(store, video.video_id, version=version_of(video))
    versions = {video.video_id: version_of(video) for video in new.videos}
    assert titles(store) == ["a1", f"b{versions['b']}", f"c{versions['c']}"]
    set_planned_catalog(
        store, ExtractionPlan.of(catalog("d"), store, retry_quarantined=False, adding=True), adding=True
    )
    assert len(store.catalog()) == 4
