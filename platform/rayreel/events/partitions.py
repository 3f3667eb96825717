"""PostgreSQL: events in a partition per month, written by COPY, and their ids in a table of their own.

A unique key of a partitioned table has to contain what it is partitioned by, so the ids, which are unique over all
months, are in `event_keys`. A transaction that stores an event adds its id there first.
"""

import io
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, column, delete, func, select, table, text

from rayreel.events.tables import event_keys, events, partitioned, partitioned_events

# What COPY's text format escapes.
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
_BEFORE = "events_before_partitions"
Month = tuple[float, float]


def create_partitioned(connection: Connection) -> None:
    """Create the tables of events. One of an earlier version, without partitions, becomes the first partition."""
    found = text("SELECT relkind FROM pg_class WHERE oid = to_regclass('events')")
    if connection.execute(found).scalar() != "r":
        partitioned.create_all(connection)
        return
    for change in (
        f"ALTER TABLE events RENAME TO {_BEFORE}",
        f"ALTER TABLE {_BEFORE} DROP CONSTRAINT events_pkey",
        *(f"DROP INDEX {index.name}" for index in partitioned_events.indexes),
        "ALTER SEQUENCE events_seq_seq OWNED BY NONE",
    ):
        connection.exec_driver_sql(change)
    partitioned.create_all(connection)
    newest = connection.execute(select(func.max(column("at"))).select_from(table(_BEFORE))).scalar()
    _attach(connection, _BEFORE, "MINVALUE", month_of(newest or 0.0)[1])
    connection.exec_driver_sql("INSERT INTO event_keys (event_id, at) SELECT event_id, at FROM events")


def copy_new(connection: Connection, rows: Sequence[Any]) -> list[str]:
    """Store the rows with new ids, and return these. Of rows with the same id, the first is stored."""
    by_id: dict[str, Any] = {}
    for row in rows:
        by_id.setdefault(row.event_id, row)
    # In one order everywhere: transactions that wait for each other's ids must not do so in a circle.
    ids = sorted(by_id)
    insert = text(
        "INSERT INTO event_keys (event_id, at) SELECT * FROM unnest(CAST(:ids AS text[]), CAST(:at AS float8[])) "
        "ON CONFLICT DO NOTHING RETURNING event_id"
    )
    at = [by_id[event_id].at for event_id in ids]
    new = set(connection.execute(insert, {"ids": ids, "at": at}).scalars())
    kept = [row for event_id, row in by_id.items() if event_id in new]
    if kept:
        add_months(connection, {row.at for row in kept})
        lines = ("\t".join(map(_cell, row)) for row in kept)
        driver: Any = connection.connection
        with driver.cursor() as cursor:
            copy = f"COPY events ({', '.join(kept[0]._asdict())}) FROM STDIN"
            cursor.copy_expert(copy, io.StringIO("\n".join(lines)))
    return list(new)


def add_months(connection: Connection, times: Iterable[float]) -> None:
    """Create the partitions that events of these times need."""
    if not (missing := _missing(connection, times)):
        return
    # Another process may create them too; and attaching, unlike PARTITION OF, waits for no reads and writes.
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('rayreel months of events'))")
    for start, end in sorted(missing & _missing(connection, [start for start, _ in missing])):
        name = f"events_{datetime.fromtimestamp(start, UTC):%Y_%m}"
        connection.exec_driver_sql(f"CREATE TABLE {name} (LIKE events INCLUDING ALL)")
        _attach(connection, name, start, end)


def month_of(at: float) -> Month:
    """Return the beginning and the end of the month of a time, UTC, in seconds since 1970."""
    month = datetime.fromtimestamp(at, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
    return month.timestamp(), following.timestamp()


def forget_keys(connection: Connection, of_events: ColumnElement[bool]) -> None:
    """Delete the ids of events that are about to be deleted."""
    if connection.dialect.name == "postgresql":
        doomed = select(events.c.event_id).where(of_events)
        connection.execute(delete(event_keys).where(event_keys.c.event_id.in_(doomed)))


def drop_months(connection: Connection, before: float) -> None:
    """Drop the partitions that end before a time, and their ids."""
    ends = [(name, end) for name, _, end in _partitions(connection) if end <= before]
    for name, _ in ends:
        connection.exec_driver_sql(f"DROP TABLE {name}")
    if ends:
        connection.execute(delete(event_keys).where(event_keys.c.at < max(end for _, end in ends)))


def _missing(connection: Connection, times: Iterable[float]) -> set[Month]:
    known = [(low, high) for _, low, high in _partitions(connection)]
    return {month_of(at) for at in times if not any(low <= at < high for low, high in known)}


def _partitions(connection: Connection) -> list[tuple[str, float, float]]:
    """The name of each partition, and the times from and before which it has events."""
    query = text(
        "SELECT relname, pg_get_expr(relpartbound, oid) FROM pg_class "
        "WHERE oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass('events'))"
    )
    found = []
    for name, bounds in connection.execute(query):
        low, high = re.findall(r"\('?([^')]+)'?\)", bounds)
        found.append((name, float("-inf") if low == "MINVALUE" else float(low), float(high)))
    return found


def _attach(connection: Connection, name: str, start: float | str, end: float) -> None:
    connection.exec_driver_sql(f"ALTER TABLE events ATTACH PARTITION {name} FOR VALUES FROM ({start}) TO ({end!r})")


def _cell(value: str | float | None) -> str:
    if value is None:
        return r"\N"
    return value.translate(_ESCAPES) if isinstance(value, str) else repr(value)
