"""PostgreSQL: months are partitions, and ids are unique over all of them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import create_engine

from event_rows import NOW, event_row
from rayreel.events.config import EventsConfig
from rayreel.events.database import Database
from rayreel.events.forget import forget
from rayreel.events.partitions import drop_months, month_of
from rayreel.events.read import Owner, done_by
from rayreel.events.write import EventRow, Written, add_events
from rayreel.storage import Storage

DAY_S = 86_400.0


@pytest.fixture
def database(postgresql_url: str, tmp_path: object) -> Iterator[Database]:
    opened = Database(EventsConfig.model_validate({"url": postgresql_url}), Storage(str(tmp_path)))
    yield opened
    opened.close()


def add(database: Database, *rows: EventRow) -> Written:
    with database.writing() as connection:
        return add_events(connection, rows)


def count(database: Database, table: str) -> int:
    with database.reading() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() or 0)


def test_every_month_is_a_table_of_its_own(database: Database) -> None:
    add(database, event_row("e1", "ann", "a"), event_row("e2", "ann", "b", at=NOW + 31 * DAY_S))
    assert (count(database, "events_2026_09"), count(database, "events_2026_10")) == (1, 1)


def test_the_last_second_of_a_year_and_the_first_of_the_next_are_in_different_months() -> None:
    start, end = month_of(1_798_761_599.5)  # 2026-12-31T23:59:59.5Z
    assert month_of(start)[0] == start and start < 1_798_761_599.5 < end == month_of(end)[0] == 1_798_761_600.0


def test_an_id_is_stored_once_even_if_it_comes_again_in_another_month(database: Database) -> None:
    later = event_row("e1", "ann", "b", at=NOW + 31 * DAY_S)
    assert add(database, event_row("e1", "ann", "a"), later) == Written(1, 1)
    assert add(database, later) == Written(0, 1)
    assert (count(database, "events"), count(database, "event_keys")) == (1, 1)


def test_copied_texts_come_back_as_they_were(database: Database) -> None:
    odd = ["tab\there", "back\\slash \\N", "new\nline\r", "", "quote\"'", "日本語"]
    add(database, *(event_row(f"{n} {text}", f"ann {text}", f"v {text}", value=0.1 + n) for n, text in enumerate(odd)))
    with database.reading() as connection:
        found = [done_by(connection, Owner(f"ann {text}", None)) for text in odd]
    assert [(entry.video_id, entry.value) for [entry] in found] == [
        (f"v {text}", 0.1 + n) for n, text in enumerate(odd)
    ]


def test_writers_that_store_the_same_events_in_another_order_do_not_lock_each_other(database: Database) -> None:
    rows = [event_row(f"e{n}", "ann", f"v{n}", at=NOW + 31 * DAY_S * (n % 3)) for n in range(300)]
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda order: add(database, *rows[::order]), [1, -1] * 4))
    assert sum(written.stored for written in done) == 300 == count(database, "events")


def test_a_deletion_leaves_no_id_of_the_user(database: Database, tmp_path: object) -> None:
    add(database, event_row("e1", "ann", "a"), event_row("e2", "bob", "b", at=NOW + 31 * DAY_S))
    assert forget(database, Storage(str(tmp_path)), "ann").events == 1
    assert (count(database, "events"), count(database, "event_keys")) == (1, 1)


def test_dropping_months_leaves_the_ids_of_later_ones(database: Database) -> None:
    rows = [event_row(f"e{n}", "ann", f"v{n}", at=NOW + 31 * DAY_S * n) for n in range(3)]
    add(database, *rows)
    with database.writing() as connection:
        drop_months(connection, month_of(rows[1].at)[1])
    assert (count(database, "events"), count(database, "event_keys")) == (1, 1)
    assert add(database, *rows) == Written(2, 1)


def test_a_database_without_partitions_keeps_its_events_and_ids(postgresql_url: str, tmp_path: object) -> None:
    engine = create_engine(postgresql_url.replace("postgresql:", "postgresql+psycopg2:"))
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE events (seq BIGSERIAL PRIMARY KEY, event_id VARCHAR NOT NULL UNIQUE, user_id VARCHAR, "
            "session_id VARCHAR, video_id VARCHAR NOT NULL, type VARCHAR NOT NULL, value DOUBLE PRECISION, "
            "at DOUBLE PRECISION NOT NULL, received_at DOUBLE PRECISION NOT NULL, recommendation_id VARCHAR)"
        )
        for name in ("at", "user", "session"):
            column = name if name == "at" else f"{name}_id"
            connection.exec_driver_sql(f"CREATE INDEX ix_events_{name} ON events ({column})")
        connection.exec_driver_sql(
            "INSERT INTO events (event_id, user_id, video_id, type, at, received_at) "
            f"VALUES ('e1', 'ann', 'a', 'view', {NOW}, {NOW})"
        )
    engine.dispose()
    for _ in range(2):  # also when it is opened again
        database = Database(EventsConfig.model_validate({"url": postgresql_url}), Storage(str(tmp_path)))
        rows = [event_row("e1", "ann", "a"), event_row("e2", "ann", "b", at=NOW + 31 * DAY_S)]
        assert add(database, *rows, event_row("e3", "ann", "c", at=NOW + 1)).duplicates >= 1
        with database.reading() as connection:
            assert [entry.video_id for entry in done_by(connection, Owner("ann", None))] == ["b", "c", "a"]
            assert connection.exec_driver_sql("SELECT seq FROM events ORDER BY seq").scalars().all() == [1, 2, 3]
        database.close()
