"""Repair of damaged files: set them aside and rebuild their content from other data."""

import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from rayreel.encoders.encoder import Modality
from rayreel.features.amend import Amendments
from rayreel.features.store import FeatureStore
from rayreel.parts import broken_files, set_aside
from rayreel.release.config import WordsConfig
from rayreel.release.rows import ReleaseRows
from rayreel.release.snapshot import snapshot_damage, write_snapshot
from rayreel.storage import BrokenFile, Storage


class Restored(NamedTuple):
    """Ids of restored amendments: videos added outside the catalog, and deleted videos."""

    added: list[str]
    deleted: list[str]


def set_broken_aside(storage: Storage) -> list[BrokenFile]:
    """Rename every damaged file below the storage root and return them. Reads every file."""
    found = list(broken_files(storage))
    for broken in found:
        set_aside(storage, broken)
    return found


def amendments_among(storage: Storage, broken: Sequence[BrokenFile]) -> bool:
    """Whether amendments were set aside. The store has no other record of deletions."""
    folder = Amendments(storage).folder
    return any(file.path.startswith(f"{folder}/") for file in broken)


def restore_amendments(store: FeatureStore, rows: ReleaseRows) -> Restored:
    """Restore lost amendments from the release's rows: videos missing from the catalog, and deleted ones still in it.

    Writers amend the store first and the rows second, so the rows know of every completed write. If the catalog changed
    after the release was last updated, the release takes precedence; the ids are returned for review.
    """
    released, catalog = rows.read(columns=["version"]), store.catalog()["video_id"].to_pylist()
    amended = store.amendments.read().keys()
    known = {*catalog, *amended}
    versions = zip(released.rows["video_id"].to_pylist(), released.rows["version"].to_pylist(), strict=True)
    added = [(video_id, version) for video_id, version in versions if video_id not in known]
    deleted = sorted(released.deleted & set(catalog) - amended)
    store.amend(added=added, deleted=deleted)
    return Restored([video_id for video_id, _ in added], deleted)


def mend_snapshot(
    storage: Storage,
    rows: ReleaseRows,
    neighbours: int,
    spaces: Collection[Modality] = (),
    words: WordsConfig = WordsConfig(),  # noqa: B008 - frozen
) -> BrokenFile | None:
    """Rewrite a release's snapshot if it or its pointer is damaged; returns the damage, None if there is none."""
    with tempfile.TemporaryDirectory() as fresh:  # reads an object store's content, not a cached copy
        damage = snapshot_damage(storage, rows.version, Path(fresh))
    if damage is not None:
        write_snapshot(storage, rows, neighbours, spaces, words)
    return damage
