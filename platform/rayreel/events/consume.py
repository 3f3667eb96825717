"""Events from a Kafka topic into the event store: each once, in spite of restarts on either side."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from rayreel.client.events import Event
from rayreel.errors import RayreelError
from rayreel.events.config import EventsUnavailable
from rayreel.events.database import Database
from rayreel.events.write import EventRow, add_events, row_of

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message

log = logging.getLogger(__name__)

BATCH = 1000
WAIT_S = 1.0
# Between tries while the database is away. Kafka's own limit is five minutes without a poll.
LONGEST_PAUSE_S = 30.0
# Rejected messages that are logged one by one; all are counted.
MOST_LOGGED = 100
EXTRA = 'pip install "rayreel[kafka]"'


class KafkaUnavailable(RayreelError):
    """Kafka's client is not installed, or the cluster cannot be used as configured."""


@dataclass(slots=True)
class ConsumeReport:
    """Messages so far: those that were stored, known before, of deleted people, and rejected as invalid."""

    stored: int = 0
    duplicates: int = 0
    deleted: int = 0
    rejected: int = 0


def connect(brokers: str, topic: str, group: str, options: Mapping[str, Any]) -> "Consumer":
    """Return a consumer of a topic. `options` are librdkafka's, such as security.protocol. Raises KafkaUnavailable."""
    try:
        from confluent_kafka import Consumer, KafkaException
    except ImportError as error:
        raise KafkaUnavailable(f"Consuming a topic needs the package confluent-kafka. Run `{EXTRA}`.") from error
    ours = {
        "bootstrap.servers": brokers,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,  # offsets are committed when the events are on disk
        "enable.partition.eof": True,
    }
    try:
        consumer = Consumer({**options, **ours})
        known = consumer.list_topics(topic, timeout=30.0).topics[topic]
        if known.error is not None:
            raise KafkaUnavailable(f"Topic {topic!r} at {brokers}: {known.error.str()}. Create it, or check the name.")
        consumer.subscribe([topic])
    except KafkaException as error:
        raise KafkaUnavailable(
            f"Kafka at {brokers} cannot be used: {error.args[0].str()}. Check --brokers and --client."
        ) from error
    return consumer


def consume(
    consumer: "Consumer",
    database: Database,
    *,
    until_end: bool = False,
    is_stopped: Callable[[], bool] = lambda: False,
    progress: Callable[[ConsumeReport], None] = lambda report: None,
) -> ConsumeReport:
    """Store the events of a topic until stopped or, with `until_end`, until every partition has been read.

    A message is a JSON object like an event of the HTTP API. Without `at`, its time is the message's, and without
    event_id too, its id is the message's place in the topic. Invalid messages are logged with their places, and stay in
    Kafka only. Offsets are committed after the events are on disk: after a kill, messages come again and are
    duplicates. While the database is away, the same messages are tried again.

    Raises KafkaUnavailable for errors that Kafka's client does not recover from.
    """
    report, ended = ConsumeReport(), set[tuple[str, int]]()
    while not is_stopped():
        messages = consumer.consume(BATCH, WAIT_S)
        ended -= {_partition(message) for message in messages}
        ended |= {_partition(message) for message in messages if _is_end(message)}
        read = [message for message in messages if message.error() is None]
        if read and _store(database, _rows(read, report), report, is_stopped):
            _commit(consumer)
        progress(report)
        assigned = {(partition.topic, partition.partition) for partition in consumer.assignment()}
        if until_end and assigned and assigned <= ended:
            break
    return report


def _rows(messages: Sequence["Message"], report: ConsumeReport) -> list[EventRow]:
    rows = []
    for message in messages:
        try:
            rows.append(_row(message))
        except ValidationError as error:
            report.rejected += 1
            if report.rejected <= MOST_LOGGED:
                wrong = error.errors(include_input=False)[0]
                what = f"{'.'.join(map(str, wrong['loc']))} {wrong['msg']}".strip()
                log.warning("rejected %s: %s", _place(message), what)
    return rows


def _row(message: "Message") -> EventRow:
    event = Event.model_validate_json(message.value() or b"")
    now, (_, milliseconds) = time.time(), message.timestamp()
    row = row_of(event, milliseconds / 1000 if milliseconds > 0 else now)._replace(received_at=now)
    known = event.event_id is not None or event.at is not None
    return row if known else row._replace(event_id=f"kafka:{_place(message)}")


def _store(database: Database, rows: Sequence[EventRow], report: ConsumeReport, is_stopped: Callable[[], bool]) -> bool:
    """Store rows, trying until the database answers; return whether it did before the stop."""
    pause_s = 1.0
    while not is_stopped():
        try:
            with database.writing() as connection:
                written = add_events(connection, rows)
        except EventsUnavailable as error:
            log.warning("trying again in %.0f s: %s", pause_s, error)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        else:
            report.stored += written.stored
            report.duplicates += written.duplicates
            report.deleted += len(written.deleted)
            return True
    return False


def _commit(consumer: "Consumer") -> None:
    from confluent_kafka import KafkaException

    try:
        consumer.commit(asynchronous=False)
    except KafkaException as error:  # another consumer of the group has the partitions now, and gets duplicates
        log.warning("offsets could not be committed: %s", error.args[0].str())


def _is_end(message: "Message") -> bool:
    """Whether a message is the end of a partition. Raises KafkaUnavailable for a fatal error; others are logged."""
    from confluent_kafka import KafkaError

    error = message.error()
    if error is None:
        return False
    if error.fatal():
        raise KafkaUnavailable(f"Kafka: {error.str()}. Check the cluster and run the same command again.")
    if error.code() != KafkaError._PARTITION_EOF:
        log.warning("Kafka: %s", error.str())
    return bool(error.code() == KafkaError._PARTITION_EOF)


def _partition(message: "Message") -> tuple[str, int]:
    return str(message.topic()), int(message.partition() or 0)


def _place(message: "Message") -> str:
    return f"{message.topic()}/{message.partition()}/{message.offset()}"
