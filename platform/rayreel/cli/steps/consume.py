"""Reading a Kafka topic into the event store."""

import signal
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from rayreel.cli.output import console, facts, finish, next_command, note, step
from rayreel.errors import RayreelError
from rayreel.events.consume import ConsumeReport, connect, consume
from rayreel.events.database import Database
from rayreel.settings import Settings

SHOWN_EVERY_S = 10.0


def consume_topic(
    settings: Settings, topic: str, brokers: str, group: str, client: Path | None, *, until_end: bool
) -> None:
    """Store the events of a topic and print what was stored."""
    consumer = connect(brokers, topic, group, _options(client))
    stopped = _stopped_by_signals()
    step(f"Storing the events of {topic} at {brokers} as group {group}")
    database = Database(settings.events, settings.place)
    try:
        report = consume(consumer, database, until_end=until_end, is_stopped=stopped, progress=_shown())
    finally:
        consumer.close()
        database.close()
    console.print(facts("Events", _counts(report)))
    finish({"topic": topic, **asdict(report)}, "the event store", next_command("events", settings, None, (), "export"))


def _counts(report: ConsumeReport) -> dict[str, int]:
    return {
        "stored": report.stored,
        "duplicates": report.duplicates,
        "of deleted users": report.deleted,
        "rejected": report.rejected,
    }


def _shown() -> Callable[[ConsumeReport], None]:
    """Return a function that prints a report when it has changed, at most every few seconds."""
    at, before = time.monotonic(), ConsumeReport()

    def show(report: ConsumeReport) -> None:
        nonlocal at, before
        if time.monotonic() - at >= SHOWN_EVERY_S and report != before:
            at, before = time.monotonic(), ConsumeReport(**asdict(report))
            note(", ".join(f"{count:,} {name}" for name, count in _counts(report).items()))

    return show


def _stopped_by_signals() -> Callable[[], bool]:
    """Return a function that says whether SIGINT or SIGTERM has arrived. Events that were read are stored first."""
    seen = list[int]()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda signum, _: seen.append(signum))
    return lambda: bool(seen)


def _options(client: Path | None) -> dict[str, Any]:
    if client is None:
        return {}
    try:
        found = yaml.safe_load(client.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise RayreelError(f"{client} cannot be read as YAML: {error}") from error
    if not isinstance(found, dict):
        raise RayreelError(f"{client} has to map names of options to values, such as `security.protocol: SASL_SSL`.")
    return found
