"""Increments: keep a release up to date with the feature store, in bulk by a job and one by one over HTTP."""

from collections.abc import Sequence
from threading import Lock
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from rayreel.features.schema import QUARANTINE
from rayreel.features.store import VERSIONS, FeatureStore
from rayreel.index.collection import collection_name
from rayreel.index.config import IndexConfig
from rayreel.index.connect import MilvusClient
from rayreel.index.search import VideoIndex
from rayreel.release.build import Progress, build
from rayreel.release.fill import fill
from rayreel.release.lease import Lease, build_lease
from rayreel.release.rows import ReleaseRows, embeddings, tombstones
from rayreel.release.site import Candidate
from rayreel.release.smooth import with_columns
from rayreel.release.snapshot import snapshot_pointer, write_snapshot
from rayreel.tower.smoothing import averaged


class Brought(NamedTuple):
    """Result of an increment: numbers of videos, and the name of the new snapshot, None if there is none.

    `blind` counts videos without any modality that the tower reads; `videos` is the total after the increment.
    """

    new: int
    changed: int
    deleted: int
    blind: int
    videos: int
    snapshot: str | None


def bring_up_to_date(
    candidate: Candidate, *, snapshot: bool = False, progress: Progress = lambda _stage, _done: None
) -> Brought:
    """Bring a release's rows and collection up to date with its feature store without a rebuild; serving continues.

    A new snapshot is made when more than `release.overlay_rows` rows have been added since the last one, or with
    `snapshot`. After a kill, the same call continues. Many new videos need a running Ray. Waits up to
    `release.lease_wait_s` for another process that works on the release. Raises NoFeatures, Held.
    """
    with in_turn(candidate, f"brings release {candidate.version.number} up to date"):
        return _bring(candidate, progress, snapshot=snapshot)


def in_turn(candidate: Candidate, what: str) -> Lease:
    """The lease for changing a release in place; `what` describes the work. Waits. Raises Held."""
    site = candidate.site
    return site.lease(build_lease(candidate.version.number), what, site.release.lease_wait_s)


def _bring(candidate: Candidate, progress: Progress, *, snapshot: bool) -> Brought:
    rows, storage = candidate.rows, candidate.site.storage
    found, former = candidate.compare(), snapshot_pointer(storage, rows.version)
    build(candidate, progress, found)
    if snapshot and snapshot_pointer(storage, rows.version) == former:
        progress("snapshot", 0)
        config = candidate.site.release
        write_snapshot(storage, rows, config.neighbours, config.spaces, config.words)
    if former is not None:  # replicas have read as far as that, at least
        rows.compact(upto=former["upto"])
    now, latter = found.after(rows), snapshot_pointer(storage, rows.version)
    taken = {video_id for video_id, _ in found.missing - now.missing}
    return Brought(
        new=len(taken - found.present.keys()),
        changed=len(taken & found.present.keys()),
        deleted=len(found.surplus - now.present.keys()),
        blind=len(found.missing) - len(taken),
        videos=len(now.present),
        snapshot=None if latter is None or latter == former else str(latter["name"]),
    )


class Writer:
    """Adds and deletes single videos of the serving release. Safe to share between threads.

    Writes go to the feature store first, then to the release's rows, then to Milvus. A write that is killed in between
    is completed later: the next `bring_up_to_date` embeds what only the store has, and the next write sends to Milvus
    what only the rows have.
    """

    def __init__(self, store: FeatureStore, rows: ReleaseRows, client: MilvusClient, config: IndexConfig) -> None:
        self.store, self.rows = store, rows
        self._client, self._config = client, config
        self._lock, self._upto, self._known = Lock(), "", set[str]()

    def add(self, features: pa.Table, release_rows: pa.Table) -> None:
        """Add videos, or replace those with the same ids, given as feature rows and as release rows.

        When it returns, they are stored and searchable. Raises IndexUnavailable if they are stored, but Milvus does not
        answer.
        """
        self.store.add(features, QUARANTINE.empty_table())
        self.store.amend(added=list(zip(*(features[name].to_pylist() for name in VERSIONS.names), strict=True)))
        self.rows.add(self._smoothed(release_rows))
        self._fill()

    def delete(self, ids: Sequence[str]) -> list[str]:
        """Delete videos and return the ids that existed. Raises like `add`."""
        there = sorted(set(ids) & self._ids())
        if there:
            self.store.amend(deleted=there)
            self.rows.add(tombstones(there))
            self._fill()
        return there

    def _smoothed(self, new: pa.Table) -> pa.Table:
        """Average new videos with the nearest vectors of the index, at the cost of a search for each.

        Those are averages already. The next `bring_up_to_date` averages own vectors, and the others' with new ones.
        """
        smoothing, own_QD = self.rows.smoothing(), embeddings(new)
        if not smoothing.neighbours:
            return new
        patient = self._config.model_copy(update={"timeout_s": self._config.restart_s})  # survives a restart of Milvus
        index = VideoIndex(self._client, patient, collection_name(self.rows.version))
        smooth = []
        for video_id, own_D in zip(new["video_id"].to_pylist(), own_QD, strict=True):
            hits = index.search(own_D, smoothing.neighbours, [video_id])
            near = index.vectors([hit.video_id for hit in hits])
            near_KD = np.stack([own_D, *near.values()])
            smooth.append(averaged(own_D[None], near_KD, np.arange(1, len(near_KD))[None], smoothing.alpha)[0])
        return with_columns(new, {"embedding": pa.array(smooth), "own": new["embedding"].combine_chunks()})

    def _fill(self) -> None:
        fill(self._client, self.rows, collection_name(self.rows.version), self._config)

    def _ids(self) -> set[str]:
        """Ids of all videos of the release. Reads only changes since the last call."""
        with self._lock:
            changes = self.rows.read(self._upto, columns=[])
            self._known = (self._known | set(changes.rows["video_id"].to_pylist())) - changes.deleted
            self._upto = changes.last
            return self._known
