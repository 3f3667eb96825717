"""Rows of events for tests."""

from rayreel.events.write import EventRow

NOW = 1_790_000_000.0


def event_row(
    event_id: str,
    user_id: str | None,
    video_id: str,
    kind: str = "view",
    value: float | None = None,
    *,
    session: str | None = None,
    at: float = NOW,
) -> EventRow:
    """Return the row of an event."""
    return EventRow(event_id, user_id, session, video_id, kind, value, at, NOW, None)
