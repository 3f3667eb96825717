from pathlib import Path

import numpy as np
import pytest

from feature_rows import KEY, feature_row, feature_table
from rayreel.encoders.encoder import Modality
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore
from rayreel.storage import Storage
from rayreel.training.config import Ingest, TrainConfig
from rayreel.training.job import fits, machine_memory, open_features, size_of
from rayreel.training.mapped import map_features

COUNTS = [(3, 2, 1), (0, 0, 1), (5, 0, 0), (1, 4, 1), (2, 1, 0)]


def row(number: int) -> dict[str, object]:
    frames, windows, text = COUNTS[number % len(COUNTS)]
    return feature_row(f"v{number:03}", frames=frames, windows=windows, text=bool(text), tags=[f"t{number}"])


def filled_store(root: Path) -> FeatureStore:
    """Two unsorted files with a duplicate row, a row of an older version and one that is not in the catalog."""
    store = FeatureStore(Storage(root), KEY)
    store.create()
    none = QUARANTINE.empty_table()
    store.add(feature_table(*(row(n) for n in (7, 3, 11, 1))), none)
    old = row(5) | {"version": "0", "visual": None}
    store.add(feature_table(*(row(n) for n in (2, 3, 9, 0)), old, row(5)), none)
    store.add(feature_table(*(row(n) for n in (10, 4, 6, 8)), feature_row("gone")), none)
    store.set_catalog([(f"v{n:03}", "1") for n in range(12)])
    return store


def assert_equal(one: FeatureMatrix, other: FeatureMatrix) -> None:
    assert one.rows.equals(other.rows)
    for modality in Modality:
        assert np.array_equal(one.vectors[modality].offsets, other.vectors[modality].offsets)
        assert np.array_equal(one.vectors[modality].values, other.vectors[modality].values)


def test_mapped_features_equal_those_in_memory(tmp_path: Path) -> None:
    store = filled_store(tmp_path / "storage")
    mapped = map_features(store, store.fingerprint(), tmp_path / "scratch")
    assert_equal(mapped, FeatureMatrix.from_table(store.read()))
    assert isinstance(mapped.vectors[Modality.VISUAL].values, np.memmap)


def test_a_second_worker_maps_the_existing_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled_store(tmp_path / "storage")
    first = map_features(store, store.fingerprint(), tmp_path / "scratch")
    monkeypatch.setattr(FeatureStore, "read", lambda *_: pytest.fail("the store was read again"))
    assert_equal(map_features(store, _fingerprint(tmp_path), tmp_path / "scratch"), first)


def _fingerprint(root: Path) -> str:
    """The name of the existing copy."""
    (folder,) = [path for place in (root / "scratch").iterdir() if place.is_dir() for path in place.iterdir()]
    return folder.name


def test_a_changed_store_is_copied_again_and_the_old_copy_is_deleted(tmp_path: Path) -> None:
    store = filled_store(tmp_path / "storage")
    old = map_features(store, store.fingerprint(), tmp_path / "scratch")
    store.set_catalog([(f"v{n:03}", "1") for n in range(6)])
    new = map_features(store, store.fingerprint(), tmp_path / "scratch")
    assert (len(old), len(new)) == (12, 6)
    assert _fingerprint(tmp_path) == store.fingerprint()
    assert float(old.vectors[Modality.VISUAL].values.astype(np.float32).sum()) != 0  # still mapped


def test_an_interrupted_copy_is_repeated(tmp_path: Path) -> None:
    store = filled_store(tmp_path / "storage")
    first = map_features(store, store.fingerprint(), tmp_path / "scratch")
    (place,) = [path for path in (tmp_path / "scratch").iterdir() if path.is_dir()]
    (place / store.fingerprint()).rename(place / f"{store.fingerprint()}.part")
    assert_equal(map_features(store, store.fingerprint(), tmp_path / "scratch"), first)


def test_a_modality_that_no_video_has_can_be_mapped(tmp_path: Path) -> None:
    store = FeatureStore(Storage(tmp_path), KEY)
    store.create()
    store.add(feature_table(*(feature_row(f"v{n}", windows=0) for n in range(3))), QUARANTINE.empty_table())
    store.set_catalog([(f"v{n}", "1") for n in range(3)])
    mapped = map_features(store, "f", tmp_path / "scratch")
    assert mapped.vectors[Modality.AUDIO].values.shape == (0, KEY.dims[Modality.AUDIO])
    assert_equal(mapped, FeatureMatrix.from_table(store.read()))


def test_the_size_is_that_of_the_vectors(tmp_path: Path) -> None:
    store = filled_store(tmp_path)
    vectors = sum(ragged.values.nbytes for ragged in FeatureMatrix.from_table(store.read()).vectors.values())
    assert vectors <= size_of(store) <= 4 * vectors + 10_000


def test_memory_is_used_if_all_workers_have_room(tmp_path: Path) -> None:
    store, size = filled_store(tmp_path), size_of(filled_store(tmp_path / "same"))
    assert fits(store, 1, memory=9 * size) and not fits(store, 2, memory=9 * size)
    assert machine_memory() > 2**28


@pytest.mark.parametrize("ingest", list(Ingest))
def test_every_ingest_returns_the_same_features(ingest: Ingest, tmp_path: Path) -> None:
    store = filled_store(tmp_path / "storage")
    config = TrainConfig(ingest=ingest, scratch=tmp_path / "scratch")
    assert_equal(open_features(store, store.fingerprint(), config), FeatureMatrix.from_table(store.read()))
    assert (tmp_path / "scratch").exists() is (ingest is Ingest.MAPPED)


def test_rows_of_several_reads_are_combined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rayreel.training.mapped._ROWS_AT_ONCE", 2)
    store = filled_store(tmp_path / "storage")
    assert_equal(map_features(store, "f", tmp_path / "scratch"), FeatureMatrix.from_table(store.read()))
