"""Kafka topics into the event store, by Kafka's own client and librdkafka's broker for tests."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer

from rayreel.events.config import EventsConfig
from rayreel.events.consume import KafkaUnavailable, connect, consume
from rayreel.events.database import Database
from rayreel.events.read import kept_of
from rayreel.storage import Storage


@pytest.fixture(scope="module")
def kafka() -> Iterator[tuple[Producer, str]]:
    """A producer, whose process has the broker, and the broker's address."""
    producer = Producer({"bootstrap.servers": "unused:9", "test.mock.num.brokers": 1, "log_level": 3})
    (broker,) = producer.list_topics(timeout=30).brokers.values()
    yield producer, f"{broker.host}:{broker.port}"
    producer.flush(10)


@pytest.fixture
def topic(kafka: tuple[Producer, str]) -> str:
    name = f"events-{uuid4().hex}"
    kafka[0].list_topics(name, timeout=30)  # creates it
    return name


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(EventsConfig(), Storage(tmp_path))
    yield opened
    opened.close()


def event(number: int, **changes: object) -> bytes:
    fields = {"event_id": f"e{number}", "user_id": "ann", "video_id": f"v{number}", "type": "view", "value": 3.0}
    return json.dumps({name: value for name, value in (fields | changes).items() if value is not None}).encode()


def send(kafka: tuple[Producer, str], topic: str, *values: bytes) -> None:
    for value in values:
        kafka[0].produce(topic, value)
    assert kafka[0].flush(30) == 0


def consumer(kafka: tuple[Producer, str], topic: str) -> Consumer:
    # In the classic protocol, this broker takes a consumer that has closed for a member until its session ends.
    return connect(kafka[1], topic, topic, {"group.protocol": "consumer"})


def watched(database: Database) -> dict[str, float]:
    """Return the videos that ann watched, with the times."""
    with database.reading() as connection:
        found = kept_of(connection, "ann", 0, 100)
    return {kept.video_id: kept.at for kept in found[0].events} if found else {}


def test_events_are_stored_and_invalid_messages_named_and_passed_over(
    kafka: tuple[Producer, str], topic: str, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "rayreel.events.consume")
    send(kafka, topic, event(1), b"\xff{", event(2, type="stare"), event(3, at=1_790_000_000), b"[]", event(1))
    reading = consumer(kafka, topic)
    report = consume(reading, database, until_end=True)
    reading.close()
    assert (report.stored, report.duplicates, report.rejected) == (2, 1, 3)
    assert watched(database).keys() == {"v1", "v3"} and watched(database)["v3"] == 1_790_000_000
    lines = [line for line in caplog.messages if line.startswith(f"rejected {topic}/")]
    assert len(lines) == 3 and any("type" in line for line in lines)


def test_messages_that_come_again_after_a_kill_are_duplicates(
    kafka: tuple[Producer, str], topic: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(_: Consumer) -> None:
        raise KeyboardInterrupt  # after the write, before the commit

    # Without ids and times, their places in the topic and the times of the messages are used.
    send(kafka, topic, *(event(n, event_id=None) for n in range(5)))
    killed = consumer(kafka, topic)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("rayreel.events.consume._commit", kill)
        consume(killed, database, until_end=True)
    before = watched(database)
    killed.close()
    again = consumer(kafka, topic)
    report = consume(again, database, until_end=True)
    again.close()
    assert report.stored + len(before) == 5 and report.duplicates == len(before) > 0
    assert watched(database).keys() == {f"v{n}" for n in range(5)}
    assert all(watched(database)[video] == at for video, at in before.items())


def test_what_was_committed_is_not_read_again(kafka: tuple[Producer, str], topic: str, database: Database) -> None:
    for numbers in ((1, 2), (3,)):
        send(kafka, topic, *map(event, numbers))
        reading = consumer(kafka, topic)
        report = consume(reading, database, until_end=True)
        reading.close()
        assert (report.stored, report.duplicates) == (len(numbers), 0)


def test_while_the_database_is_away_nothing_is_lost(
    kafka: tuple[Producer, str], topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(kafka, topic, event(1))
    blocked = tmp_path / "events" / "events.db"
    blocked.mkdir(parents=True)  # a folder where the file of the database should be
    pauses = list[float]()

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            blocked.rmdir()

    monkeypatch.setattr("rayreel.events.consume.time.sleep", pause)
    database, reading = Database(EventsConfig(), Storage(tmp_path)), consumer(kafka, topic)
    assert consume(reading, database, until_end=True).stored == 1
    reading.close()
    assert pauses == [1, 2, 4] and watched(database).keys() == {"v1"}
    database.close()


def test_a_cluster_that_is_away_is_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KafkaUnavailable, match="Check --brokers"):
        connect("127.0.0.1:1", "events", "tests", {"log_level": 0, "socket.timeout.ms": 100, "nonsense": 1})
