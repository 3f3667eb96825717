"""Answers for people whose events are kept, and their next pages."""

import json
import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from rayreel.client.messages import RecommendRequest, User
from rayreel.errors import RayreelError
from rayreel.events.done import Done
from rayreel.events.read import Owner, answer, done_by, owner_of
from rayreel.events.write import AnswerRow, EventRow
from rayreel.experiments.plan import Experiment
from rayreel.experiments.taking_part import TakenPart, instead_of, part_of
from rayreel.recommendation.person import state_of
from rayreel.recommendation.query import Vector
from rayreel.recommendation.recommend import by_person, check_request
from rayreel.recommendation.results import RankedResults
from serve_apps.problems import NotFound
from serve_apps.service import Service
from serve_apps.serving import Serving

log = logging.getLogger(__name__)

# The same fallback is logged this often.
LOG_S = 60.0


class KnownRequest(NamedTuple):
    """A request for a known person: what they did, newest first, the videos of earlier pages, and their experiment."""

    user: User
    query: RecommendRequest
    done: list[Done]
    shown: list[str]
    part: TakenPart | None


async def recommend_known(service: Service, query: RecommendRequest) -> tuple[RankedResults, AnswerRow]:
    """Answer a request for a known person, or for the next page of one, and keep the answer. Returns both.

    If the release of an arm cannot answer, the answer is that of the control, or of the serving release.

    Raises:
        NotFound: the earlier answer is unknown or no longer kept.
        BadQuery, BadFilter, Busy, QueueFull, EventsUnavailable, Unavailable.
    """
    experiments = await service.scenarios.refresh() if _has_steps(query) else {}
    known, now = await service.people.read(_known, query, experiments), time.time()
    known, found = await _answered(service, known, experiments, now)
    row = _row(known, found, now)
    impressions = list(_impressions(row, found)) if service.settings.events.impressions else []
    await service.people.add(impressions, row)
    return found, row


async def _answered(
    service: Service, known: KnownRequest, experiments: Mapping[str, Experiment], now: float
) -> tuple[KnownRequest, RankedResults]:
    """Answer as the arm does or, if its release cannot, as the control. Returns the request with the part taken."""
    try:
        return known, await _found(service, known, now)
    except RayreelError as error:
        if known.part is None or known.part.release is None:
            raise
        _log_once(service, known.part, error)
        instead = known._replace(part=instead_of(known.part, experiments))
        return await _answered(service, instead, experiments, now)


def _log_once(service: Service, part: TakenPart, error: RayreelError) -> None:
    """Log that a part cannot be taken, once per LOG_S."""
    now = time.monotonic()
    if now - service.fallen_back.get(part, float("-inf")) > LOG_S:
        service.fallen_back[part] = now
        log.warning(
            "experiment %s: arm %s cannot answer from release %s and answers as the control: %s",
            part.experiment,
            part.arm,
            part.release,
            error,
        )


async def _found(service: Service, known: KnownRequest, now: float) -> RankedResults:
    """Find videos in the release that the request or the arm names, or in the serving one."""
    of_arm, config = known.part is not None, service.settings.recommend
    serving = await service.state.at(known.part.release if known.part else known.query.release, of_arm=of_arm)
    check_request(serving.live, known.query)
    popularity = await service.people.popularity(config)
    scenario = known.query.scenario if known.part is None else known.part.scenario
    query = known.query.model_copy(update={"exclude": [*known.query.exclude, *known.shown], "scenario": scenario})
    options = await service.scenarios.options(query, service.settings)
    state = state_of(serving.live, known.done, now, config)
    articles = await articles_of(service, serving, known.user)
    return await service.search(
        serving, lambda release: by_person(release, state, known.user, options, popularity, articles=articles)
    )


def _has_steps(query: RecommendRequest) -> bool:
    """Whether a request may have a scenario; the next page has that of the first."""
    return query.scenario is not None or query.recommendation_id is not None


async def articles_of(service: Service, serving: Serving, user: User | None) -> Sequence[Vector]:
    """Return the unit embeddings of the articles that a user read; none without any. Raises EmptyQuery, Busy."""
    if user is None or not user.articles:
        return ()
    found: Sequence[Vector] = await service.encode("texts", user.articles, serving.version)
    return found


def _known(connection: Connection, query: RecommendRequest, experiments: Mapping[str, Experiment]) -> KnownRequest:
    """Read what is kept of the person of a request."""
    shown: list[str] = []
    if query.recommendation_id is not None:
        before = answer(connection, query.recommendation_id)
        if before is None:
            raise NotFound("No answer with this recommendation_id is kept. Ask for the first page again.")
        query, shown = RecommendRequest.model_validate(before.query | {"top_k": query.top_k}), before.shown
    user = query.user
    assert user is not None, "only answers for users are kept"
    owner = owner_of(connection, user.user_id, user.session_id)
    # Who asks for a release looks at it, and takes no part.
    part = part_of(connection, experiments, query.scenario, owner) if query.release is None else None
    done = done_by(connection, owner)
    if user.user_id is not None and user.session_id is not None:  # it is joined when the answer is kept
        session = owner_of(connection, None, user.session_id)
        done += done_by(connection, session) if session.user_id is None else []
    return KnownRequest(user, query, sorted(done, key=lambda event: -event.at), shown, part)


def _row(known: KnownRequest, found: RankedResults, now: float) -> AnswerRow:
    owner = Owner(known.user.user_id, known.user.session_id)
    shown = [*known.shown, *(video.video_id for video in found)]
    query = known.query.model_dump_json(exclude_defaults=True)
    chances = [video.propensity for video in found if video.propensity is not None]
    propensities = json.dumps(chances) if chances else None
    answer_id, earlier = uuid.uuid4().hex, len(known.shown)
    kept = AnswerRow(answer_id, *owner, now, found.release, query, json.dumps(shown), earlier, propensities)
    return kept if known.part is None else kept._replace(experiment=known.part.experiment, arm=known.part.arm)


def _impressions(row: AnswerRow, found: RankedResults) -> list[EventRow]:
    """Return an impression of each result."""
    answer_id, user, session, at = row[:4]
    return [
        EventRow(f"{answer_id}-{rank}", user, session, video.video_id, "impression", None, at, at, answer_id)
        for rank, video in enumerate(found)
    ]
