"""Repair after damage: broken files are set aside, and what they said is taken from what else knows it."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rayreel.features.amend import Amendments
from rayreel.features.store import FeatureStore
from rayreel.parts import broken_files, set_aside
from rayreel.release.rows import ReleaseRows
from rayreel.release.snapshot import snapshot_damage, write_snapshot
from rayreel.storage import BrokenFile, Storage


class Restored(NamedTuple):
    """Ids that were amended again: videos added beside the catalog, and deleted ones."""

    added: list[str]
    deleted: list[str]


def set_broken_aside(storage: Storage) -> list[BrokenFile]:
    """Rename every damaged file below the storage root; returns them. Reads every file."""
    found = list(broken_files(storage))
    for broken in found:
        set_aside(storage, broken)
    return found


def amendments_among(storage: Storage, broken: Sequence[BrokenFile]) -> bool:
    """Whether a file of amendments was set aside: nothing else in the store says what was deleted."""
    folder = Amendments(storage).folder
    return any(file.path.startswith(f"{folder}/") for file in broken)


def restore_amendments(store: FeatureStore, rows: ReleaseRows) -> Restored:
    """Amend again what the release's rows know: videos that no catalog lists, and deleted ones that it still lists.

    Writers amend the store first and then the rows. Where a later catalog took a video out, or brought one back, and
    the release has not followed yet, the release's word is taken; the ids are returned for a person to look at.
    """
    said, catalog = rows.read(columns=["version"]), store.catalog()["video_id"].to_pylist()
    amended = store.amendments.read().keys()
    known = {*catalog, *amended}
    versions = zip(said.rows["video_id"].to_pylist(), said.rows["version"].to_pylist(), strict=True)
    added = [(video_id, version) for video_id, version in versions if video_id not in known]
    deleted = sorted(said.deleted & set(catalog) - amended)
    store.amend(added=added, deleted=deleted)
    return Restored([video_id for video_id, _ in added], deleted)


def mend_snapshot(storage: Storage, rows: ReleaseRows, neighbours: int) -> BrokenFile | None:
    """Make a release's snapshot again where it or its pointer is damaged; returns what was wrong."""
    with tempfile.TemporaryDirectory() as fresh:  # an object store's content, not an old copy of it
        damage = snapshot_damage(storage, rows.version, Path(fresh))
    if damage is not None:
        write_snapshot(storage, rows, neighbours)
    return damage
