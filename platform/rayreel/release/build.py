"""Build a release beside the one that serves: rows, collection, snapshot. A killed build continues when repeated."""

from collections.abc import Callable
from functools import partial

from rayreel.index.alias import drop_collection
from rayreel.index.write import make_searchable
from rayreel.release.embed import StoreDifference, embed_with
from rayreel.release.fill import fill
from rayreel.release.site import Candidate
from rayreel.release.smooth import smooth_rows
from rayreel.release.snapshot import snapshot_pointer, spaces_of, write_snapshot
from rayreel.release.users import write_user_tower

Progress = Callable[[str, int], None]
"""Receives the stage and the number of videos that have completed it."""


def build(candidate: Candidate, progress: Progress, found: StoreDifference) -> None:
    """Bring the version's rows, collection and snapshot up to the feature store; may be repeated at any time.

    `found` is how the rows differ from the store.
    """
    site = candidate.site
    _open_collection(candidate)
    filled = catch_up(candidate, progress, found)
    write_user_tower(candidate.rows, candidate.tower.users)
    # A few additional rows are searched without an index; reloading would interrupt queries to this collection.
    if filled > site.release.overlay_rows or not _is_searchable(candidate):
        progress("building HNSW", 0)
        make_searchable(site.client, candidate.collection, site.index)
    _keep_snapshot(candidate, progress)


def catch_up(candidate: Candidate, progress: Progress, found: StoreDifference) -> int:
    """Apply new, changed and deleted videos of the feature store; returns the number of rows sent to the index."""
    site = candidate.site
    embedding = partial(progress, "embedding")
    embed_with(candidate.tower, candidate.store, candidate.rows, embedding, config=site.release, found=found)
    smooth_rows(candidate.rows, candidate.tower.smoothing)
    indexing = partial(progress, "indexing")
    return fill(site.client, candidate.rows, candidate.collection, site.index, indexing)


def _open_collection(candidate: Candidate) -> None:
    """Drop an existing collection of that name if the marker says that it has none of the rows."""
    if not candidate.rows.marker():
        drop_collection(candidate.site.client, candidate.collection, candidate.site.index.timeout_s)


def _is_searchable(candidate: Candidate) -> bool:
    client, name, wait = candidate.site.client, candidate.collection, candidate.site.index.timeout_s
    loaded = client.get_load_state(name, timeout=wait)["state"].name == "Loaded"
    return loaded and bool(client.list_indexes(name, timeout=wait))


def _keep_snapshot(candidate: Candidate, progress: Progress) -> None:
    """Write a snapshot if there is none, if it has other spaces, or if many rows were added since."""
    site, rows = candidate.site, candidate.rows
    pointer = snapshot_pointer(site.storage, rows.version)
    if (
        pointer is None
        or set(spaces_of(pointer)) != set(site.release.spaces)
        or len(rows.read(after=pointer["upto"], columns=[])) > site.release.overlay_rows
    ):
        progress("snapshot", 0)
        write_snapshot(site.storage, rows, site.release.neighbours, site.release.spaces, site.release.words)
