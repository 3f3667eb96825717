"""The tables of the event store, for SQLite and PostgreSQL."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Sequence,
    String,
    Table,
    Text,
)

metadata = MetaData()


def _event_columns() -> tuple[Column[Any], ...]:
    return (
        Column("user_id", String),
        Column("session_id", String),
        Column("video_id", String, nullable=False),
        Column("type", String, nullable=False),
        Column("value", Double),
        Column("received_at", Double, nullable=False),
        Column("recommendation_id", String),
    )


# Append-only: a row is never changed, and deleted only with its person or its month. `seq` is the order of arrival;
# `at` and `received_at` are seconds since 1970. This is the table in SQLite; queries are the same for both.
events = Table(
    "events",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("event_id", String, nullable=False, unique=True),
    Column("at", Double, nullable=False, index=True),
    *_event_columns(),
    sqlite_autoincrement=True,  # a deleted row's number is never used again
)
Index("ix_events_user", events.c.user_id, sqlite_where=events.c.user_id.is_not(None))
Index("ix_events_session", events.c.session_id, sqlite_where=events.c.session_id.is_not(None))

# In PostgreSQL: see `events.partitions`.
partitioned = MetaData()
_seq = Sequence("events_seq_seq", metadata=partitioned)
partitioned_events = Table(
    "events",
    partitioned,
    Column("seq", BigInteger, nullable=False, server_default=_seq.next_value()),
    Column("event_id", String, nullable=False),
    Column("at", Double, nullable=False),
    *_event_columns(),
    PrimaryKeyConstraint("at", "seq"),
    postgresql_partition_by="RANGE (at)",
)
Index("ix_events_user", partitioned_events.c.user_id)
Index("ix_events_session", partitioned_events.c.session_id)
event_keys = Table(
    "event_keys",
    partitioned,
    Column("event_id", String, primary_key=True),
    Column("at", Double, nullable=False, index=True),
)

# A session belongs to the first user who signed in during it.
sessions = Table(
    "sessions",
    metadata,
    Column("session_id", String, primary_key=True),
    Column("user_id", String, nullable=False, index=True),
    Column("joined_at", Double, nullable=False),
)

# Answers for known people. `query` and `shown` are JSON; `shown` has the ids of earlier pages first,
# `propensities` the chances of the ids of this page where a scenario explores.
recommendations = Table(
    "recommendations",
    metadata,
    Column("recommendation_id", String, primary_key=True),
    Column("user_id", String, index=True),
    Column("session_id", String, index=True),
    Column("at", Double, nullable=False, index=True),
    Column("release", Integer, nullable=False),
    Column("query", Text, nullable=False),
    Column("shown", Text, nullable=False),
    Column("earlier", Integer, nullable=False),
    Column("propensities", Text),
    Column("experiment", String, index=True),
    Column("arm", String),
)

# Arms of experiments that were ended, whose users are answered like those of the control since then.
ended_arms = Table(
    "ended_arms",
    metadata,
    Column("experiment", String, primary_key=True),
    Column("arm", String, primary_key=True),
    Column("ended_at", Double, nullable=False),
    Column("ended_by", String, nullable=False),
    Column("reason", Text, nullable=False),
)

# Digests of deleted people, so that late or imported events of the time before do not bring them back.
deletions = Table(
    "deletions",
    metadata,
    Column("digest", String, primary_key=True),
    Column("receipt_id", String, nullable=False),
    Column("deleted_at", Double, nullable=False),
)
