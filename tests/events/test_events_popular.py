"""Popularity: people of each day, with less weight for days long ago."""

from pathlib import Path

import pytest

from event_rows import NOW, event_row
from rayreel.events.config import EventsConfig
from rayreel.events.database import Database
from rayreel.events.popular import popular_videos
from rayreel.events.write import add_events
from rayreel.storage import Storage

DAY = 86_400.0


def test_people_are_counted_once_a_day_and_old_days_less(tmp_path: Path) -> None:
    database = Database(EventsConfig(), Storage(tmp_path))
    rows = [event_row(f"{user}{n}", user, "a") for user in ("ann", "bob") for n in range(3)]
    rows += [event_row(f"old{n}", f"user{n}", "b", at=NOW - 7 * DAY) for n in range(2)]
    rows += [event_row("x", "ann", "c", "impression"), event_row("y", "ann", "d", "dislike")]
    with database.writing() as connection:
        add_events(connection, rows)
    with database.reading() as connection:
        assert popular_videos(connection, 7 * DAY) == {"a": 1.0, "b": pytest.approx(0.5)}
    database.close()
