"""The event store: what is written is kept once, joined with its user, exported and deleted."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from event_rows import NOW, event_row
from rayreel.catalog.interactions import read_behaviour, read_interactions
from rayreel.events.config import EventsConfig, EventsUnavailable
from rayreel.events.database import Database
from rayreel.events.done import Done
from rayreel.events.export import FOLDER, export_interactions, exported_files
from rayreel.events.forget import forget
from rayreel.events.logs import import_log, read_log
from rayreel.events.read import Owner, done_by, kept_of, owner_of
from rayreel.events.write import AnswerRow, EventRow, Written, add_answers, add_events
from rayreel.events.writer import EventWriter, QueueFull
from rayreel.storage import Storage

DAY_S = 86_400.0


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, storage: Storage) -> Iterator[Database]:
    """The store in each kind of database."""
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgresql_url")
    opened = Database(EventsConfig.model_validate({"url": url}), storage)
    yield opened
    opened.close()


def add(database: Database, *rows: EventRow) -> Written:
    with database.writing() as connection:
        return add_events(connection, rows)


def done(database: Database, user: str | None, session: str | None = None) -> list[Done]:
    with database.reading() as connection:
        return done_by(connection, owner_of(connection, user, session))


def watched(database: Database, user: str | None, session: str | None = None) -> list[str]:
    return [entry.video_id for entry in done(database, user, session)]


def test_an_event_is_stored_once_however_often_it_is_sent(database: Database) -> None:
    rows = [event_row("e1", "ann", "a"), event_row("e2", "ann", "b", at=NOW + 1), event_row("e1", "bob", "c")]
    assert add(database, *rows) == Written(2, 1)
    assert add(database, *rows) == Written(0, 3)
    assert watched(database, "ann") == ["b", "a"] and not watched(database, "bob")


def test_the_events_of_a_session_become_those_of_the_user_who_signs_in(database: Database) -> None:
    add(database, event_row("e1", None, "a", session="s"), event_row("e2", None, "b", session="t"))
    assert watched(database, "ann") == [] and watched(database, None, "s") == ["a"]
    add(database, event_row("e3", "ann", "c", session="s", at=NOW + 1))
    assert watched(database, "ann") == ["c", "a"] == watched(database, None, "s")
    # Another user of the same device gets only what is sent with their own id.
    add(database, event_row("e4", "bob", "d", session="s", at=NOW + 2))
    add(database, event_row("e5", None, "e", session="s", at=NOW + 3))
    assert watched(database, "bob") == ["d"] and watched(database, "ann") == ["e", "c", "a"]
    assert watched(database, None, "t") == ["b"]


def test_a_deletion_leaves_nothing_of_the_user_in_database_and_exports(database: Database, storage: Storage) -> None:
    add(database, event_row("e1", "ann-7351", "a", session="s-8842"), event_row("e2", None, "b", session="s-8842"))
    add(database, event_row("e3", "bob", "c"), event_row("e4", None, "d", session="other"))
    with database.writing() as connection:
        add_answers(connection, [AnswerRow("r1", "ann-7351", "s-8842", NOW, 1, '{"top_k": 1}', '["a"]', 0)])
    assert export_interactions(database, storage) == 4
    receipt = forget(database, storage, "ann-7351")
    assert (receipt.events, receipt.sessions, receipt.recommendations, receipt.exported) == (2, 1, 1, 2)
    with database.reading() as connection:
        assert kept_of(connection, "ann-7351", 0, 10) is None
    assert read_interactions(Path(storage.path(*FOLDER)))["user_id"].to_pylist() == ["bob", "session:other"]
    assert export_interactions(database, storage) == 2
    files = [path for path in Path(storage.root).rglob("*") if path.is_file()]
    assert not [path for path in files if b"ann-7351" in path.read_bytes() or b"s-8842" in path.read_bytes()]


def test_events_of_a_deleted_user_do_not_come_back(database: Database, storage: Storage) -> None:
    add(database, event_row("e1", "ann", "a", session="s"))
    ended = forget(database, storage, "ann").deleted_at
    late = [event_row("e1", "ann", "a"), event_row("e2", None, "b", session="s"), event_row("e3", "bob", "c")]
    assert add(database, *late) == Written(1, 0, {0: ended, 1: ended})
    assert add(database, event_row("e4", "ann", "d", at=time.time() + 1)).stored == 1
    assert watched(database, "ann") == ["d"]
    assert forget(database, storage, "ann").events == 1  # and may be deleted again


def test_an_export_has_what_was_watched_by_month(database: Database, storage: Storage) -> None:
    month = 31 * 86_400.0
    add(database, event_row("e1", "ann", "a", "dwell", 3.5), event_row("e2", "ann", "b", "rating", 4.0, at=NOW + month))
    add(database, event_row("e3", "ann", "c", "impression"), event_row("e4", "ann", "d", "dislike"))
    add(database, event_row("e5", "ann", "f", "like", at=NOW + month + 1))
    assert export_interactions(database, storage) == 5
    assert len(exported_files(storage)) == 2
    rows = read_interactions(storage.path(*FOLDER)).select(["video_id", "rating", "dwell_s"]).to_pylist()
    assert rows == [
        {"video_id": "a", "rating": None, "dwell_s": 3.5},
        {"video_id": "b", "rating": 4.0, "dwell_s": None},
        {"video_id": "f", "rating": 5.0, "dwell_s": None},
    ]


def test_an_export_says_where_videos_were_shown_and_what_was_not_watched(database: Database, storage: Storage) -> None:
    with database.writing() as connection:
        shown = [AnswerRow("r1", "ann", None, NOW, 1, "{}", '["x", "a", "b"]', 1, "[0.9, 0.1]")]
        add_answers(connection, shown)
    rows = [event_row("e1", "ann", "a", "impression"), event_row("e2", "ann", "b", "view", at=NOW + 1)]
    add(
        database,
        *(row._replace(recommendation_id="r1") for row in rows),
        event_row("e3", "ann", "c", "skip", at=NOW + 2),
    )
    export_interactions(database, storage)
    found = read_behaviour(storage.path(*FOLDER)).select(["video_id", "type", "position", "propensity"]).to_pylist()
    assert [tuple(row.values()) for row in found] == [
        ("a", "impression", 1.0, pytest.approx(0.9)),
        ("b", "view", 2.0, pytest.approx(0.1)),
        ("c", "skip", None, None),
    ]
    assert read_interactions(storage.path(*FOLDER))["video_id"].to_pylist() == ["b"]


def test_an_opinion_that_was_taken_back_is_not_exported(database: Database, storage: Storage) -> None:
    month = 31 * DAY_S
    add(database, event_row("e1", "ann", "a", "view"), event_row("e2", None, "a", "like", session="s", at=NOW + 1))
    add(
        database,
        event_row("e3", "ann", "a", "unlike", session="s", at=NOW + month),
        event_row("e4", "bob", "a", "like"),
    )
    add(database, event_row("e5", "ann", "b", "like"), event_row("e6", "ann", "b", "unlike", at=NOW + 1))
    add(database, event_row("e7", "ann", "b", "like", at=NOW + 2))
    export_interactions(database, storage)
    rows = read_interactions(storage.path(*FOLDER)).select(["user_id", "video_id", "rating"]).to_pylist()
    assert sorted(tuple(row.values()) for row in rows if row["rating"]) == [("ann", "b", 5.0), ("bob", "a", 5.0)]
    assert [row["user_id"] for row in rows if not row["rating"]] == ["ann"]


def test_a_log_is_imported_once_and_gives_the_export_back(database: Database, storage: Storage, tmp_path: Path) -> None:
    log = tmp_path / "u.data"
    log.write_text("196\t242\t3\t881250949\n186\t302\t4\t891717742\n")
    table = read_log(log)
    assert import_log(database, table, NOW).stored == 2
    assert import_log(database, table, NOW) == Written(0, 2)
    export_interactions(database, storage)
    assert read_interactions(storage.path(*FOLDER)).equals(read_interactions(log))


def test_a_page_of_what_is_kept_continues_where_the_last_one_ended(database: Database) -> None:
    add(database, *(event_row(f"e{n}", "ann", f"v{n}", at=NOW - n) for n in range(5)))
    seen, after = list[str](), 0
    while True:
        with database.reading() as connection:
            found = kept_of(connection, "ann", after, 2)
        assert found is not None
        seen += [event.video_id for event in found[0].events]
        if found[1] is None:
            break
        after = found[1]
    assert seen == [f"v{n}" for n in range(5)]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_replicas_that_start_together_create_one_set_of_tables(
    kind: str, storage: Storage, request: pytest.FixtureRequest
) -> None:
    url = "" if kind == "sqlite" else request.getfixturevalue("postgresql_url")
    stores = [Database(EventsConfig.model_validate({"url": url}), storage) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(lambda n: add(stores[n], event_row(f"e{n}", "ann", f"v{n}")).stored, range(8)))
    assert stored == [1] * 8 and len(watched(stores[0], "ann")) == 8
    for store in stores:
        store.close()


def results(futures: Sequence["Future[Written]"]) -> list[Written]:
    return [future.result(timeout=30) for future in futures]


def test_a_writer_gives_each_caller_the_result_of_their_own_events(database: Database) -> None:
    writer = EventWriter(database, EventsConfig())
    futures = [writer.add([event_row(f"e{n % 10}", "ann", f"v{n % 10}")]) for n in range(30)]
    assert sum(result.stored for result in results(futures)) == 10
    assert [result.stored for result in results(futures)][:10] == [1] * 10
    writer.close()
    assert len(watched(database, "ann")) == 10
    with pytest.raises(EventsUnavailable):
        writer.add([event_row("e11", "ann", "v")])


def test_a_writer_deletes_events_that_are_older_than_configured(database: Database) -> None:
    writer = EventWriter(database, EventsConfig(keep_events_s=90 * DAY_S))
    now = time.time()
    old = [event_row(f"e{n}", "ann", f"v{n}", at=now - 40 * DAY_S * n) for n in range(6)]
    results([writer.add(old)])
    writer.close()
    kept = watched(database, "ann")
    assert kept[:3] == ["v0", "v1", "v2"] and "v4" not in kept  # PostgreSQL keeps the rest of a month
    again = add(database, *old)
    assert again.duplicates == len(kept) and again.stored == 6 - len(kept)


def test_a_writer_refuses_what_it_cannot_keep_up_with(storage: Storage) -> None:
    database = Database(EventsConfig(), storage)
    writer = EventWriter(database, EventsConfig(queued=2))
    with database.writing():  # another process writes for a while
        first = writer.add([event_row("e1", "ann", "a")])
        until = time.monotonic() + 10
        while writer.rows and time.monotonic() < until:
            time.sleep(0.01)
        second = writer.add([event_row("e2", "ann", "b"), event_row("e3", "ann", "c")])
        with pytest.raises(QueueFull):
            writer.add([event_row("e4", "ann", "d")])
    assert [result.stored for result in results([first, second])] == [1, 2]
    writer.close()


def test_a_storage_root_without_folders_needs_a_database_server() -> None:
    database = Database(EventsConfig(), Storage("s3://bucket/prefix?region=eu-west-1"))
    with pytest.raises(EventsUnavailable, match=r"events\.url"), database.reading():
        pass


def test_a_server_that_does_not_answer_is_an_error_without_its_password(storage: Storage) -> None:
    url = "postgresql://user:secret@127.0.0.1:1/rayreel"
    database = Database(EventsConfig.model_validate({"url": url}), storage)
    with pytest.raises(EventsUnavailable, match="The event store failed") as failed, database.reading():
        pass
    assert "secret" not in str(failed.value)


def test_an_owner_is_a_user_or_a_session(database: Database) -> None:
    with database.reading() as connection:
        assert owner_of(connection, "ann", "s") == Owner("ann", None)
        assert owner_of(connection, None, "s") == Owner(None, "s")


def test_sqlite_writes_to_disk_at_every_commit_and_overwrites_what_is_deleted(storage: Storage) -> None:
    database = Database(EventsConfig(), storage)
    with database.reading() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "secure_delete")
        }
    database.close()
    assert found == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}  # 2 is FULL
