"""Exports for training: who watched what, and passed over what, as Parquet by month.

The columns are those of `catalog.interactions`, SCHEMA and BEHAVIOUR.
"""

import io
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlalchemy import Connection, Row, case, func, literal, select

from rayreel.catalog.interactions import BEHAVIOUR, behaviour_schema
from rayreel.evaluation.weights import STARS
from rayreel.events.database import Database
from rayreel.events.done import UNLIKE
from rayreel.events.partitions import month_of
from rayreel.events.tables import deletions, events, recommendations, sessions
from rayreel.parts import parquet_bytes
from rayreel.storage import Storage

FOLDER = ("events", "interactions")
# What says that a person watched a video.
WATCHED = ("view", "dwell", "like", "share", "rating")
_OPINIONS = ("like", "share", "rating", "dislike", "hide")
MOST_ATTEMPTS = 5
ROWS_PER_READ = 50_000


def export_interactions(database: Database, storage: Storage) -> int:
    """Write all events to events/interactions/month=YYYY-MM, and return their number.

    Those with the id of an answer that is still kept have their position in it, from 0 over all pages, and the chance
    that the video was among the results if the scenario explored. Opinions that were taken back are left out.

    A person without a name is named by their session. A deletion that ends during the export is found by it, and one
    that ends later finds the files, so no deleted person remains.
    """
    for _ in range(MOST_ATTEMPTS):
        started = time.time()
        rows = _write_months(database, storage)
        with database.reading() as connection:
            if not connection.execute(select(deletions).where(deletions.c.deleted_at >= started).limit(1)).first():
                break
    return rows


def forget_exported(storage: Storage, people: Sequence[str]) -> int:
    """Delete the rows of people from the exports and return their number; `people` are user and session names."""
    forgotten = 0
    for path in exported_files(storage):
        table = pq.read_table(io.BytesIO(storage.read(path) or b""))
        keep = table.filter(pc.invert(pc.is_in(table["user_id"], pa.array(people, pa.string()))))
        if keep.num_rows < table.num_rows:
            forgotten += table.num_rows - keep.num_rows
            storage.write(path, parquet_bytes(keep))
    return forgotten


def exported_files(storage: Storage) -> list[str]:
    """Return the paths of all exported files."""
    folder = storage.path(*FOLDER)
    return [path for month in storage.folders(folder) for path in storage.files(f"{folder}/{month}", ".parquet")]


def name_of_session(session_id: str) -> str:
    """Return the name of someone who has not signed in."""
    return f"session:{session_id}"


def _write_months(database: Database, storage: Storage) -> int:
    written, rows = set[str](), 0
    with database.reading() as connection:
        taken_back = _taken_back(connection)
        for start, end in _months(connection):
            found = list(_interactions(connection, start, end, taken_back))
            table = pa.Table.from_pylist(found, schema=behaviour_schema(BEHAVIOUR))
            if table.num_rows:
                path = storage.path(*FOLDER, f"month={datetime.fromtimestamp(start, UTC):%Y-%m}", "part.parquet")
                storage.write(path, parquet_bytes(table))
                written.add(path)
                rows += table.num_rows
    for path in set(exported_files(storage)) - written:
        storage.filesystem.delete_file(path)
    return rows


def _months(connection: Connection) -> Iterator[tuple[float, float]]:
    first, last = connection.execute(select(func.min(events.c.at), func.max(events.c.at))).one()
    if first is None:
        return
    start, end = month_of(first)
    while start <= last:
        yield start, end
        start, end = month_of(end)


_WITH_SESSIONS = events.outerjoin(sessions, events.c.session_id == sessions.c.session_id)
_USER = func.coalesce(events.c.user_id, sessions.c.user_id, literal(name_of_session("")) + events.c.session_id)


def _taken_back(connection: Connection) -> dict[tuple[str, str], float]:
    """When each user last withdrew an opinion of a video."""
    query = select(_USER, events.c.video_id, func.max(events.c.at)).select_from(_WITH_SESSIONS)
    found = connection.execute(query.where(events.c.type == UNLIKE).group_by(_USER, events.c.video_id))
    return {(user, video): at for user, video, at in found}


def _interactions(
    connection: Connection, start: float, end: float, taken_back: Mapping[tuple[str, str], float]
) -> Iterator[dict[str, Any]]:
    query = (
        select(
            _USER.label("user_id"),
            events.c.video_id,
            events.c.at,
            # As for recommendations, a like or a share says as much as the highest rating.
            case((events.c.type == "rating", events.c.value), (events.c.type.in_(("like", "share")), STARS)).label(
                "rating"
            ),
            case((events.c.type.in_(("view", "dwell")), events.c.value)).label("dwell_s"),
            events.c.type,
            recommendations.c.shown,
            recommendations.c.earlier,
            recommendations.c.propensities,
        )
        .select_from(
            _WITH_SESSIONS.outerjoin(recommendations, events.c.recommendation_id == recommendations.c.recommendation_id)
        )
        .where(events.c.at >= start, events.c.at < end)
        .order_by(events.c.at, events.c.seq)
    )
    for row in connection.execution_options(yield_per=ROWS_PER_READ).execute(query):
        if row.type in _OPINIONS and row.at <= taken_back.get((row.user_id, row.video_id), -math.inf):
            continue
        timestamp = datetime.fromtimestamp(row.at, UTC)
        yield {
            "user_id": row.user_id,
            "video_id": row.video_id,
            "timestamp": timestamp,
            "rating": row.rating,
            "dwell_s": row.dwell_s,
            "type": row.type,
            **_place(row),
        }


def _place(row: Row[*tuple[Any, ...]]) -> dict[str, float | None]:
    """Return where a video was in its answer, and the chance that it was in it."""
    place = None if row.shown is None else _places(row.shown).get(row.video_id)
    if place is None or row.propensities is None or place < row.earlier:
        return {"position": place, "propensity": None}
    return {"position": place, "propensity": json.loads(row.propensities)[place - row.earlier]}


@lru_cache(1000)
def _places(shown: str) -> dict[str, int]:
    return {video: place for place, video in enumerate(json.loads(shown))}
