"""Adding events and answers to the store."""

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection, Table, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from rayreel.client.events import Event
from rayreel.events.partitions import copy_new, drop_months
from rayreel.events.tables import deletions, ended_arms, events, recommendations, sessions

# SQLite 3.40 takes 32,766 parameters in a statement; a row has nine.
ROWS_PER_STATEMENT = 2000
T = TypeVar("T")


class EventRow(NamedTuple):
    """A row of the table of events, without its number. Times in seconds since 1970."""

    event_id: str
    user_id: str | None
    session_id: str | None
    video_id: str
    type: str
    value: float | None
    at: float
    received_at: float
    recommendation_id: str | None


class AnswerRow(NamedTuple):
    """A row of the table of recommendations. The first `earlier` ids of `shown` are those of earlier pages.

    `propensities`: the chances of the others, as JSON. `arm`: of the experiment that the answer is of.
    """

    recommendation_id: str
    user_id: str | None
    session_id: str | None
    at: float
    release: int
    query: str
    shown: str
    earlier: int
    propensities: str | None = None
    experiment: str | None = None
    arm: str | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """The result of adding events: the number stored, and those of deleted people, by place, with the time."""

    stored: int = 0
    duplicates: int = 0
    deleted: dict[int, float] = field(default_factory=dict)


def row_of(event: Event, now: float) -> EventRow:
    """Return an event of the API as a row that arrived `now`."""
    return EventRow(
        event.identity(),
        event.user_id,
        event.session_id,
        event.video_id,
        event.type,
        event.value,
        event.seconds(now),
        now,
        event.recommendation_id,
    )


def add_events(connection: Connection, rows: Sequence[EventRow]) -> Written:
    """Add events with new ids, and join their sessions with their users. Drops events from before a deletion."""
    return add_groups(connection, [rows])[0]


def add_groups(connection: Connection, groups: Sequence[Sequence[EventRow]]) -> list[Written]:
    """Add the events of several callers in as few statements as those of one; return a result for each."""
    rows = [row for group in groups for row in group]
    ends = _ends(connection, rows)
    kept = [row for row in rows if _end_of(row, ends) < row.at]
    stored = set(_insert(connection, kept))
    join_sessions(connection, ((row.session_id, row.user_id, row.received_at) for row in kept))
    return [_result(group, ends, stored) for group in groups]


def _result(group: Sequence[EventRow], ends: dict[str, float], stored: set[str]) -> Written:
    """Return a caller's result and remove its ids from `stored`: a repeated id counts for the first caller."""
    deleted = {place: end for place, row in enumerate(group) if (end := _end_of(row, ends)) >= row.at}
    found = {row.event_id for place, row in enumerate(group) if place not in deleted} & stored
    stored -= found
    return Written(len(found), len(group) - len(deleted) - len(found), deleted)


def join_sessions(connection: Connection, found: Iterable[tuple[str | None, str | None, float]]) -> None:
    """Give sessions to the users who signed in during them, unless they have one: (session, user, time)."""
    joined = {session: (user, at) for session, user, at in found if session is not None and user is not None}
    for part in _parts(list(joined.items())):
        rows = [{"session_id": session, "user_id": user, "joined_at": at} for session, (user, at) in part]
        connection.execute(_insert_new(connection, sessions, "session_id"), rows)


def add_answers(connection: Connection, rows: Sequence[AnswerRow]) -> None:
    """Add answers for known people. Those of people who were deleted meanwhile are dropped."""
    ends = _ends(connection, rows)
    kept = [row for row in rows if _end_of(row, ends) < row.at]
    if kept:
        connection.execute(recommendations.insert(), [row._asdict() for row in kept])
    join_sessions(connection, ((row.session_id, row.user_id, row.at) for row in kept))


def drop_old_answers(connection: Connection, keep_s: float) -> None:
    """Delete answers that are older than `keep_s` seconds."""
    connection.execute(delete(recommendations).where(recommendations.c.at < time.time() - keep_s))


def drop_old_events(connection: Connection, keep_s: float) -> None:
    """Delete events that are older than `keep_s` seconds; in PostgreSQL, whole months that are."""
    before = time.time() - keep_s
    if connection.dialect.name == "postgresql":
        drop_months(connection, before)
    else:
        connection.execute(delete(events).where(events.c.at < before))


def add_end(connection: Connection, experiment: str, arm: str, by: str, reason: str) -> bool:
    """End an arm of an experiment for good; return whether it had not been ended before."""
    columns = (ended_arms.c.experiment, ended_arms.c.arm)
    row = {"experiment": experiment, "arm": arm, "ended_at": time.time(), "ended_by": by, "reason": reason}
    insert = _insert_new(connection, ended_arms, *(column.name for column in columns)).returning(*columns)
    return connection.execute(insert, [row]).first() is not None


def digests(user_id: str | None, session_ids: Iterable[str | None]) -> Iterator[str]:
    """Yield the digests by which the store knows that a user and their sessions were deleted."""
    for kind, identity in (("user", user_id), *(("session", session) for session in session_ids)):
        if identity is not None:
            yield hashlib.sha256(f"{kind}:{identity}".encode()).hexdigest()


def _parts(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        yield rows[start : start + ROWS_PER_STATEMENT]


def _insert(connection: Connection, rows: Sequence[EventRow]) -> Sequence[str]:
    """Insert rows with new ids and return these."""
    if connection.dialect.name == "postgresql":
        return copy_new(connection, rows) if rows else []
    insert = _insert_new(connection, events, "event_id").returning(events.c.event_id)
    parts = (connection.execute(insert, [row._asdict() for row in part]) for part in _parts(rows))
    return [event_id for stored in parts for event_id in stored.scalars()]


def _insert_new(connection: Connection, table: Table, *key: str) -> "postgresql.Insert | sqlite.Insert":
    """An insert that skips rows whose key exists."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing(index_elements=key)
    return postgresql.insert(table).on_conflict_do_nothing(index_elements=key)


def _ends(connection: Connection, rows: Iterable[EventRow | AnswerRow]) -> dict[str, float]:
    """When each of the people in the rows was deleted, by digest; most were not."""
    if connection.execute(select(deletions.c.digest).limit(1)).first() is None:
        return {}
    people = {(row.user_id, row.session_id) for row in rows}
    wanted = {digest for user, session in people for digest in digests(user, [session])}
    ends: dict[str, float] = {}
    for part in _parts(sorted(wanted)):
        query = select(deletions.c.digest, deletions.c.deleted_at).where(deletions.c.digest.in_(part))
        ends |= {row.digest: row.deleted_at for row in connection.execute(query)}
    return ends


def _end_of(row: EventRow | AnswerRow, ends: dict[str, float]) -> float:
    """The last deletion of a row's person; minus infinity if there was none."""
    if not ends:
        return float("-inf")
    return max(ends.get(digest, float("-inf")) for digest in digests(row.user_id, [row.session_id]))
