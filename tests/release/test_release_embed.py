"""Feature rows to release rows: embeddings, and new, changed and deleted videos."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from feature_rows import DIMS, KEY, feature_row, feature_table
from rayreel.encoders.encoder import Modality
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore
from rayreel.release import embed as module
from rayreel.release.embed import Embedded, ReadFeatures, compare, embed_table, embed_with
from rayreel.release.rows import ROWS, ReleaseRows, embeddings, part_embeddings, videos
from rayreel.storage import Storage
from rayreel.tower.config import TowerConfig
from rayreel.tower.embed import embed, embed_query
from rayreel.tower.tower import VideoTower

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture
def tower() -> VideoTower:
    torch.manual_seed(0)
    return VideoTower(TowerConfig(dim=16), DIMS).eval()


@pytest.fixture
def tower_without_audio() -> VideoTower:
    torch.manual_seed(0)
    return VideoTower(TowerConfig(dim=16, modalities=(Modality.VISUAL, Modality.TEXT)), DIMS).eval()


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """Three videos in two files, one of them with sound only."""
    store = FeatureStore(Storage(tmp_path), KEY)
    store.create()
    for rows in ([feature_row("a"), feature_row("b")], [feature_row("sound", frames=0, text=False)]):
        store.add(feature_table(*rows), QUARANTINE.empty_table())
    store.set_catalog([("a", "1"), ("b", "1"), ("sound", "1")])
    return store


@pytest.fixture
def rows(store: FeatureStore) -> ReleaseRows:
    return ReleaseRows(store.storage, 1)


def test_a_row_has_the_embeddings_of_the_video_and_of_each_modality_alone(tower: VideoTower) -> None:
    features = feature_table(feature_row("a"), feature_row("silent", windows=0))
    found = embed_table(tower, features)
    assert found.schema == ROWS
    matrix = FeatureMatrix.from_table(features)
    np.testing.assert_allclose(embeddings(found), embed(tower, matrix), atol=1e-6)
    for modality in Modality:
        vectors, present = part_embeddings(found, modality)
        assert present.tolist() == [True, modality is not Modality.AUDIO]
        frames = matrix.vectors[modality].of(np.array([0])).astype(np.float32)
        np.testing.assert_allclose(vectors[0], embed_query(tower, {modality: frames}), atol=2e-3)
        assert vectors[1].any() == present[1]


def test_a_row_has_the_catalog_columns_and_the_text_for_full_text_search(tower: VideoTower) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 500_000, tzinfo=UTC)
    row = feature_row("a", title="Cats", description="", category="pets", tags=["x"], created_at=moment, duration_s=4.0)
    row |= {"transcript": "meow", "extra": '{"views": 3}', "version": "7"}
    (found,) = (rows := embed_table(tower, feature_table(row, feature_row("b", title="", category=""))))[:1].to_pylist()
    assert found["text"].split() == ["Cats", "meow"]
    assert rows["text"][1].as_py() == "" and rows["created_at"][1].as_py() is None
    (video, _) = videos(rows)
    assert (video.category, video.tags, video.extra, video.version) == ("pets", ("x",), {"views": 3}, "7")
    assert (video.created_at, video.duration_s) == (moment.timestamp(), 4.0)
    assert not found["deleted"]


def test_a_video_without_a_modality_that_the_tower_reads_is_omitted(tower_without_audio: VideoTower) -> None:
    found = embed_table(
        tower_without_audio, feature_table(feature_row("sound", frames=0, text=False), feature_row("a"))
    )
    assert found["video_id"].to_pylist() == ["a"]
    assert not part_embeddings(found, Modality.AUDIO)[1].any()
    assert embed_table(tower_without_audio, feature_table()).equals(ROWS.empty_table())


@pytest.mark.parametrize("few", [0, 1000], ids=["by actors", "in this process"])
def test_only_new_changed_and_deleted_videos_are_written(
    few: int, tower: VideoTower, store: FeatureStore, rows: ReleaseRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FEW", few)
    assert embed_with(tower, store, rows) == Embedded(3, 0, 0)
    assert rows.current() == {"a": "1", "b": "1", "sound": "1"}
    seen = rows.parts()[-1]
    assert embed_with(tower, store, rows) == Embedded(0, 0, 0)
    assert rows.parts(seen) == []
    store.add(feature_table(feature_row("b", version="2"), feature_row("c")), QUARANTINE.empty_table())
    store.set_catalog([("a", "1"), ("b", "2"), ("c", "1")])
    progress: list[int] = []
    assert embed_with(tower, store, rows, progress.append) == Embedded(2, 1, 0)
    assert progress == [2]
    changes = rows.read(seen)
    assert sorted(changes.rows["video_id"].to_pylist()) == ["b", "c"] and changes.deleted == {"sound"}
    assert rows.current() == {"a": "1", "b": "2", "c": "1"}


def test_videos_that_the_tower_cannot_read_are_counted_in_every_run(
    tower_without_audio: VideoTower, store: FeatureStore, rows: ReleaseRows
) -> None:
    assert embed_with(tower_without_audio, store, rows) == Embedded(2, 0, 1)
    assert embed_with(tower_without_audio, store, rows) == Embedded(0, 0, 1)
    found = compare(store, rows)
    assert (found.missing, found.surplus) == ({("sound", "1")}, set())


def test_a_killed_run_continues_with_the_missing_videos(
    tower: VideoTower, store: FeatureStore, rows: ReleaseRows
) -> None:
    class Killed(BaseException):
        pass

    def die(done: int) -> None:
        raise Killed

    with pytest.raises(Killed):
        embed_with(tower, store, rows, die)
    kept = len(rows.current())
    assert 0 < kept < 3, "the first file is complete"
    assert embed_with(tower, store, rows) == Embedded(3 - kept, 0, 0)
    assert len(rows.current()) == 3


def test_a_file_deleted_by_compaction_is_skipped(store: FeatureStore) -> None:
    work = pa.table({"path": ["/gone.parquet"], "video_id": [["a"]], "version": [["1"]]}, schema=module.WORK)
    assert ReadFeatures(store)(work).num_rows == 0


def test_a_video_in_two_files_is_embedded_once(tower: VideoTower, store: FeatureStore, rows: ReleaseRows) -> None:
    store.add(feature_table(feature_row("a"), feature_row("a"), feature_row("b")), QUARANTINE.empty_table())
    assert embed_with(tower, store, rows) == Embedded(3, 0, 0)
