"""A release made from rows, without videos and towers: rows, collection, snapshot and alias."""

from collections.abc import Sequence
from pathlib import Path

from pymilvus import MilvusClient

from rayreel.index.alias import switch_alias
from rayreel.index.collection import collection_name
from rayreel.index.connect import connect
from rayreel.index.write import make_searchable
from rayreel.release.fill import fill
from rayreel.release.rows import ReleaseRows
from rayreel.release.snapshot import write_snapshot
from rayreel.settings import Settings, load_settings
from release_rows import release_row, release_table


def settings_in(folder: Path, *sets: str) -> Settings:
    """Return settings with a storage root below the folder, for embeddings of `release_row`."""
    return load_settings(None, ["serve.refresh_s=0.05", "release.follow=off", *sets], str(folder / "storage"))


def make_release(settings: Settings, version: int, ids: Sequence[str], tower: str = "1") -> ReleaseRows:
    """Write rows, collection and snapshot of a version with these videos, without pointing the alias to it.

    `tower` chooses the embeddings: those of a video are `unit(f"{video_id} {tower}")`.
    """
    rows, client, collection = ReleaseRows(settings.place, version), client_of(settings), collection_name(version)
    rows.add(release_table(*(release_row(video_id, tower, category=video_id[0]) for video_id in ids)))
    fill(client, rows, collection, settings.index)
    make_searchable(client, collection, settings.index)
    write_snapshot(settings.place, rows, neighbours=8)
    return rows


def switch_to(settings: Settings, version: int) -> None:
    """Point the alias to the version."""
    switch_alias(client_of(settings), settings.index.alias, collection_name(version))


def client_of(settings: Settings) -> MilvusClient:
    """Return a client of the storage's Milvus Lite."""
    return connect(settings.index, settings.milvus_dir)
