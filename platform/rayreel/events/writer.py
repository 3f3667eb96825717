"""A thread that writes what many requests add in few transactions (group commit)."""

import logging
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread

from rayreel.errors import RayreelError
from rayreel.events.config import EventsConfig, EventsUnavailable
from rayreel.events.database import Database
from rayreel.events.write import (
    AnswerRow,
    EventRow,
    Written,
    add_answers,
    add_groups,
    drop_old_answers,
    drop_old_events,
)

log = logging.getLogger(__name__)

# Larger transactions make other processes wait longer and are not faster.
MOST_ROWS = 5000
DROP_EVERY_S = 3600.0


class QueueFull(RayreelError):
    """Too many events wait to be written."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    events: Sequence[EventRow]
    answer: AnswerRow | None
    done: "Future[Written]" = field(default_factory=Future)

    def __len__(self) -> int:
        return len(self.events) + (self.answer is not None)


class EventWriter:
    """Writes events in the order in which they were added; a result means that they are on disk.

    While a transaction is being written to disk, others wait and become the next one, so its duration is shared.
    """

    def __init__(self, database: Database, config: EventsConfig) -> None:
        self._database, self._config = database, config
        self._waiting: deque[_Waiting] = deque()
        self._rows = 0
        self._changed = Condition()
        self._closed = False
        self._thread: Thread | None = None
        self._dropped_at = float("-inf")

    @property
    def rows(self) -> int:
        """The rows that wait."""
        return self._rows

    def add(self, events: Sequence[EventRow], answer: AnswerRow | None = None) -> "Future[Written]":
        """Write events, and an answer for a known person. Returns at once; the future ends once all are on disk.

        Raises QueueFull; the future, EventsUnavailable and StorageFull.
        """
        added = _Waiting(events, answer)
        with self._changed:
            if self._closed:
                raise EventsUnavailable("The event store is being closed. Try again.")
            if self._rows and self._rows + len(added) > self._config.queued:
                raise QueueFull(f"{self._rows:,} events wait to be written (events.queued). Try again later.")
            self._waiting.append(added)
            self._rows += len(added)
            if self._thread is None:
                self._thread = Thread(target=self._run, name="events", daemon=True)
                self._thread.start()
            self._changed.notify()
        return added.done

    def close(self) -> None:
        """Write what waits, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while group := self._next():
            try:
                results = self._write(group)
            except Exception as error:  # noqa: BLE001 - each caller raises it
                for waiting in group:
                    waiting.done.set_exception(error)
            else:
                for waiting, result in zip(group, results, strict=True):
                    waiting.done.set_result(result)
            self._drop_old()

    def _next(self) -> list[_Waiting]:
        """Wait for the next group; an empty one is the end."""
        group: list[_Waiting] = []
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            rows = 0
            while self._waiting and (not group or rows + len(self._waiting[0]) <= MOST_ROWS):
                waiting = self._waiting.popleft()
                self._rows -= len(waiting)
                # A caller that has gone, such as a client that disconnected, wants nothing written.
                if waiting.done.set_running_or_notify_cancel():
                    group.append(waiting)
                    rows += len(waiting)
            return group or ([] if self._closed else self._next())

    def _write(self, group: list[_Waiting]) -> list[Written]:
        with self._database.writing() as connection:
            results = add_groups(connection, [waiting.events for waiting in group])
            if answers := [waiting.answer for waiting in group if waiting.answer is not None]:
                add_answers(connection, answers)
        return results

    def _drop_old(self) -> None:
        """Delete expired events from time to time, in a separate transaction, because it locks whole months."""
        if time.monotonic() - self._dropped_at < DROP_EVERY_S:
            return
        self._dropped_at = time.monotonic()
        try:
            with self._database.writing() as connection:
                drop_old_answers(connection, self._config.keep_recommendations_s)
                if self._config.keep_events_s is not None:
                    drop_old_events(connection, self._config.keep_events_s)
        except EventsUnavailable as error:
            log.warning("old events are deleted in an hour, not now: %s", error)
