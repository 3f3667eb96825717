"""Import of logs: who watched what, from files of other systems."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pyarrow.compute as pc

from rayreel.catalog.interactions import read_interactions
from rayreel.catalog.problem import CatalogError
from rayreel.client.events import Event, EventType
from rayreel.events.database import Database
from rayreel.events.write import EventRow, Written, add_events, row_of

ROWS_PER_TRANSACTION = 20_000
TYPE = "type"
EVENT_ID = "event_id"


def read_log(path: str | Path, names: Mapping[str, str] | None = None, kind: EventType | None = None) -> pa.Table:
    """Read a log into the columns of `catalog.interactions.SCHEMA`, with `type` and, if the file has it, `event_id`.

    `names` maps the file's columns to ours. Without a column `type`, all rows are of the type `kind`; by default those
    with a rating are ratings, those with a dwell time are dwells, all others views. Raises CatalogError.
    """
    table = read_interactions(path, names, more=(TYPE, EVENT_ID))
    if kind is not None:
        return table.set_column(table.column_names.index(TYPE), TYPE, pa.array([kind] * len(table), pa.string()))
    watched = pc.if_else(pc.is_valid(table["dwell_s"]), "dwell", "view")
    default = pc.if_else(pc.is_valid(table["rating"]), "rating", watched)
    types = pc.coalesce(table[TYPE], default)
    unknown = pc.invert(pc.is_in(types, pa.array(get_args(EventType))))
    if (row := pc.index(unknown, True).as_py()) >= 0:
        allowed = ", ".join(get_args(EventType))
        raise CatalogError(f"{path} row {row + 1}: type is {types[row].as_py()!r}, expected one of {allowed}.")
    return table.set_column(table.column_names.index(TYPE), TYPE, types)


def import_log(database: Database, log: pa.Table, now: float) -> Written:
    """Add the rows of a log to the store; those that it has, by id or by content, are duplicates."""
    stored = duplicates = 0
    deleted: dict[int, float] = {}
    for start in range(0, len(log), ROWS_PER_TRANSACTION):
        rows = list(_rows(log.slice(start, ROWS_PER_TRANSACTION), now))
        with database.writing() as connection:
            done = add_events(connection, rows)
        stored, duplicates = stored + done.stored, duplicates + done.duplicates
        deleted |= {start + place: at for place, at in done.deleted.items()}
    return Written(stored, duplicates, deleted)


def _rows(log: pa.Table, now: float) -> Iterator[EventRow]:
    for row in log.to_pylist():
        value = row["rating"] if row[TYPE] == "rating" else row["dwell_s"] if row[TYPE] in {"view", "dwell"} else None
        event = Event.model_construct(
            event_id=row[EVENT_ID],
            user_id=row["user_id"],
            session_id=None,
            video_id=row["video_id"],
            type=row[TYPE],
            value=value,
            at=row["timestamp"].timestamp(),
            recommendation_id=None,
        )
        yield row_of(event, now)
