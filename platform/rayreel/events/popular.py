"""How many people watched or liked each video lately."""

from collections import defaultdict

from sqlalchemy import Connection, Integer, cast, func, select, true

from rayreel.events.export import WATCHED
from rayreel.events.tables import events

DAY_S = 86_400
# Older events have less than a thousandth of the weight of new ones.
HALF_LIVES = 10


def popular_videos(connection: Connection, half_life_s: float, until: float | None = None) -> dict[str, float]:
    """Return for each video the people who watched or liked it, by day, as a share of the most popular video.

    A day counts half for every half-life that it is older than the newest event, so that a pause changes nothing.
    `until`: without what happened from this time on.
    """
    before = true() if until is None else events.c.at < until
    newest = connection.execute(select(func.max(events.c.at)).where(before)).scalar()
    if newest is None:
        return {}
    day = cast((newest - events.c.at) / DAY_S, Integer).label("day")
    person = func.coalesce(events.c.user_id, events.c.session_id)
    query = (
        select(events.c.video_id, day, func.count(person.distinct()).label("people"))
        .where(before, events.c.at > newest - HALF_LIVES * half_life_s, events.c.type.in_(WATCHED))
        .group_by(events.c.video_id, day)
    )
    counts: defaultdict[str, float] = defaultdict(float)
    for row in connection.execute(query):
        counts[row.video_id] += row.people * 0.5 ** (row.day * DAY_S / half_life_s)
    most = max(counts.values(), default=1.0)
    return {video: count / most for video, count in counts.items()}
