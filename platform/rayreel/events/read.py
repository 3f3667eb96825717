"""Reading what is kept of a person."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, and_, or_, select

from rayreel.client.events import KeptEvent, KeptRecommendation
from rayreel.client.events import Person as KeptPerson
from rayreel.events.done import Done
from rayreel.events.tables import ended_arms, events, recommendations, sessions


class Owner(NamedTuple):
    """A user, or the session of someone who has not signed in. Exactly one of the two is set."""

    user_id: str | None
    session_id: str | None


class Answer(NamedTuple):
    """An answer that was given to a person: the request, and the videos of this page and of earlier ones."""

    owner: Owner
    query: dict[str, Any]
    shown: list[str]


def owner_of(connection: Connection, user_id: str | None, session_id: str | None) -> Owner:
    """Return who a request is for: the user, or the one whose session it is."""
    if user_id is None and session_id is not None:
        query = select(sessions.c.user_id).where(sessions.c.session_id == session_id)
        user_id = connection.execute(query).scalar()
    return Owner(user_id, None if user_id is not None else session_id)


def belongs_to(table: Table, owner: Owner) -> ColumnElement[bool]:
    """Return the condition for the rows of a person, with those of sessions that have become theirs."""
    if owner.user_id is None:
        return and_(table.c.user_id.is_(None), table.c.session_id == owner.session_id)
    joined = select(sessions.c.session_id).where(sessions.c.user_id == owner.user_id)
    return or_(
        table.c.user_id == owner.user_id,
        and_(table.c.user_id.is_(None), table.c.session_id.in_(joined)),
    )


def done_by(connection: Connection, owner: Owner) -> list[Done]:
    """Return everything that a person did, newest first, without impressions."""
    query = (
        select(events.c.video_id, events.c.type, events.c.value, events.c.at)
        .where(belongs_to(events, owner), events.c.type != "impression")
        .order_by(events.c.at.desc(), events.c.seq.desc())
    )
    return [Done(*row) for row in connection.execute(query)]


def answer(connection: Connection, recommendation_id: str) -> Answer | None:
    """Return an answer that was given to a known person; None if it is unknown or no longer kept."""
    table = recommendations
    row = connection.execute(select(table).where(table.c.recommendation_id == recommendation_id)).first()
    return (
        None
        if row is None
        else Answer(Owner(row.user_id, row.session_id), json.loads(row.query), json.loads(row.shown))
    )


def ends_of(connection: Connection, experiment: str) -> dict[str, str]:
    """Return the reasons of an experiment's arms that were ended, by arm."""
    query = select(ended_arms.c.arm, ended_arms.c.reason).where(ended_arms.c.experiment == experiment)
    return {row.arm: row.reason for row in connection.execute(query)}


def kept_of(connection: Connection, user_id: str, after: int, limit: int) -> tuple[KeptPerson, int | None] | None:
    """Return what is kept of a user, with up to `limit` events numbered above `after`, and the last number.

    The number is None on the last page. Returns None if nothing is kept.
    """
    owner = Owner(user_id, None)
    query = select(events).where(belongs_to(events, owner), events.c.seq > after).order_by(events.c.seq)
    rows = connection.execute(query.limit(limit + 1)).all()
    joined = connection.execute(select(sessions.c.session_id).where(sessions.c.user_id == user_id)).scalars().all()
    answers = list(_answers(connection, owner)) if not after else []
    if not rows and not joined and not answers:
        return None
    kept = [KeptEvent.model_validate(row, from_attributes=True) for row in rows[:limit]]
    last = rows[limit - 1].seq if len(rows) > limit else None
    return KeptPerson(user_id=user_id, sessions=list(joined), events=kept, recommendations=answers), last


def _answers(connection: Connection, owner: Owner) -> Iterator[KeptRecommendation]:
    table = recommendations
    for row in connection.execute(select(table).where(belongs_to(table, owner)).order_by(table.c.at)):
        shown: Sequence[str] = json.loads(row.shown)
        yield KeptRecommendation(
            recommendation_id=row.recommendation_id,
            at=row.at,
            release=row.release,
            query=json.loads(row.query),
            video_ids=list(shown[row.earlier :]),
            propensities=None if row.propensities is None else json.loads(row.propensities),
            experiment=row.experiment,
            arm=row.arm,
        )
