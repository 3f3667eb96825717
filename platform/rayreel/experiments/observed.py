"""What the people of an experiment were shown and did, each from their first answer on for the same time."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import Connection, func, literal, select

from rayreel.events.export import WATCHED, name_of_session
from rayreel.events.tables import events, recommendations, sessions

# Clocks of clients may be late by this much.
LATE_S = 86_400.0


@dataclass(slots=True)
class AnswerSeen:
    """An answer: its videos in their order, those that were seen, and the seconds that each was watched."""

    shown: list[str]
    seen: set[str] = field(default_factory=set)
    watched: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Participant:
    """Someone who takes part: the arm of their first answer, when that was, and the arm's answers."""

    arm: str
    since: float
    answers: dict[str, AnswerSeen] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observed:
    """The participants in the order of their first answers. Without any impressions, all results count as seen."""

    people: list[Participant]
    impressions: bool


def observed(connection: Connection, experiment: str, window_s: float) -> Observed:
    """Return the people of an experiment. Answers of another arm than their first one are left out."""
    people, owners = dict[str, Participant](), dict[str, Participant]()
    for answer_id, person, at, arm, shown in _answers(connection, experiment):
        participant = people.setdefault(person, Participant(arm, at))
        if arm == participant.arm and at < participant.since + window_s:
            participant.answers[answer_id] = AnswerSeen(shown)
            owners[answer_id] = participant
    impressions = False
    since = min((participant.since for participant in people.values()), default=0.0)
    for answer_id, video, kind, value, at in _events(connection, experiment, since - LATE_S):
        owner = owners.get(answer_id)
        if owner is None or at >= owner.since + window_s:
            continue
        answer = owner.answers[answer_id]
        impressions = impressions or kind == "impression"
        if video in answer.shown:
            answer.seen.add(video)
            if kind in WATCHED:
                seconds = value if kind in {"view", "dwell"} and value else 0.0
                answer.watched[video] = max(answer.watched.get(video, 0.0), seconds)
    if not impressions:
        for answer in (answer for participant in people.values() for answer in participant.answers.values()):
            answer.seen = set(answer.shown)
    return Observed(list(people.values()), impressions)


def _answers(connection: Connection, experiment: str) -> Iterator[tuple[str, str, float, str, list[str]]]:
    """Yield each answer with its person, time, arm and videos, in the order of time."""
    table = recommendations
    person = func.coalesce(table.c.user_id, sessions.c.user_id, literal(name_of_session("")) + table.c.session_id)
    query = (
        select(
            table.c.recommendation_id, person.label("person"), table.c.at, table.c.arm, table.c.shown, table.c.earlier
        )
        .select_from(table.outerjoin(sessions, table.c.session_id == sessions.c.session_id))
        .where(table.c.experiment == experiment)
        .order_by(table.c.at, table.c.recommendation_id)
    )
    for row in connection.execute(query):
        yield row.recommendation_id, row.person, row.at, row.arm, json.loads(row.shown)[row.earlier :]


def _events(
    connection: Connection, experiment: str, since: float
) -> Iterator[tuple[str, str, str, float | None, float]]:
    """Yield the events of an experiment's answers: answer, video, type, value and time."""
    mine = select(recommendations.c.recommendation_id).where(recommendations.c.experiment == experiment)
    query = select(events.c.recommendation_id, events.c.video_id, events.c.type, events.c.value, events.c.at).where(
        events.c.at >= since, events.c.type.in_(("impression", *WATCHED)), events.c.recommendation_id.in_(mine)
    )
    for row in connection.execute(query):
        yield row.recommendation_id, row.video_id, row.type, row.value, row.at
