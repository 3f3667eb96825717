"""Release rows to Milvus: what was written and is not there yet, and the proof that nothing is missing."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from rayreel.index.config import IndexConfig
from rayreel.index.connect import MilvusClient
from rayreel.index.retry import call_milvus
from rayreel.index.write import IndexRow, create_collection, delete, stored_versions, upsert
from rayreel.release.rows import PART_COLUMNS, ROWS, SAID, SPACE_COLUMNS, Changes, ReleaseRows, embeddings, videos

_DERIVED = {*PART_COLUMNS.values(), *SPACE_COLUMNS.values(), *SAID.names, "own", "nearest"}
_COLUMNS = [name for name in ROWS.names if name not in _DERIVED]


class Difference(NamedTuple):
    """Ids in which a collection differs from the release's rows: missing, of another version, and surplus."""

    missing: set[str]
    stale: set[str]
    surplus: set[str]


def fill(
    client: MilvusClient,
    rows: ReleaseRows,
    collection: str,
    config: IndexConfig,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Apply every part after the marker to the collection, which is created if needed; returns the number of videos.

    Continues until no part is left, including parts written meanwhile, so that with concurrent calls the last part wins
    in Milvus too. The marker advances once a part's rows are acknowledged, so a kill repeats rows but loses none.
    Raises IndexUnavailable if Milvus does not answer.
    """
    exists = call_milvus(config.restart_s, client.has_collection, collection, timeout=config.timeout_s)
    if not exists:
        rows.set_marker("")  # before it is made: killed in between, the empty collection is filled from the start
    done, after = 0, rows.marker()
    while (changes := rows.read(after, columns=_COLUMNS)).last != after:
        if not exists and changes.rows.num_rows:
            create_collection(client, collection, len(changes.rows["embedding"][0]), config)
            exists = True
        if exists:
            done += _apply(client, collection, changes, config, _offset(done, progress))
        after = changes.last
        rows.set_marker(after)
    return done


def verify(
    client: MilvusClient, rows: ReleaseRows, collection: str, config: IndexConfig, *, repair: bool
) -> Difference:
    """Compare every (video_id, version) of the collection with the release's rows; `repair` applies the differences."""
    stored, wanted = stored_versions(client, collection, config), rows.current()
    found = Difference(
        wanted.keys() - stored.keys(),
        {video_id for video_id in wanted.keys() & stored.keys() if wanted[video_id] != stored[video_id]},
        stored.keys() - wanted.keys(),
    )
    if repair and any(found):
        now = rows.read(columns=_COLUMNS)
        lacking = pc.is_in(now.rows["video_id"], value_set=pa.array(sorted(found.missing | found.stale), pa.string()))
        _apply(client, collection, Changes(now.rows.filter(lacking), found.surplus, now.last), config)
    return found


def index_rows(rows: pa.Table) -> Iterator[IndexRow]:
    """Convert release rows (not tombstones) to rows of the index."""
    for row, text, embedding_D in zip(videos(rows), rows["text"].to_pylist(), embeddings(rows), strict=True):
        own = {"created_at": row.created_at, "duration_s": row.duration_s}
        yield IndexRow(
            row.video_id,
            embedding_D,
            row.title,
            row.category,
            row.tags,
            row.uri,
            row.extra | {name: value for name, value in own.items() if value is not None},
            row.version,
            text,
        )


def _offset(done: int, progress: Callable[[int], None]) -> Callable[[int], None]:
    return lambda sent: progress(done + sent)


def _apply(
    client: MilvusClient,
    collection: str,
    changes: Changes,
    config: IndexConfig,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    if changes.rows.num_rows:
        upsert(client, collection, index_rows(changes.rows), config, progress)
    if changes.deleted:
        delete(client, collection, sorted(changes.deleted), config)
    progress(len(changes))
    return len(changes)
