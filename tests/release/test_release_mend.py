"""Repair of damaged files from other data."""

from pathlib import Path

import pytest

from feature_rows import KEY, feature_row, feature_table
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore
from rayreel.release.mend import amendments_among, restore_amendments, set_broken_aside
from rayreel.release.rows import ReleaseRows, tombstones
from rayreel.storage import BrokenFile, Storage
from release_rows import release_row, release_table


def test_lost_amendments_are_restored_from_the_release(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    store, rows = FeatureStore(storage, KEY), ReleaseRows(storage, 1)
    store.create()
    store.add(feature_table(*map(feature_row, ("a", "b", "added"))), QUARANTINE.empty_table())
    store.set_catalog([("a", "1"), ("b", "1")])
    store.amend(added=[("added", "1")], deleted=["b"])
    rows.add(release_table(*map(release_row, ("a", "b", "added"))))
    rows.add(tombstones(["b"]))
    before = store.read()

    (amendment,) = (tmp_path / "catalog" / "amendments").iterdir()
    amendment.write_bytes(b"")
    with pytest.raises(BrokenFile, match="amendments"):  # never silently undeleted
        store.read()
    broken = set_broken_aside(storage)
    assert [file.path for file in broken] == [str(amendment)] and amendments_among(storage, broken)
    assert restore_amendments(store, rows) == (["added"], ["b"])
    assert store.read().equals(before)
    assert restore_amendments(store, rows) == ([], [])
