"""Logged answers, beside what another scenario would have shown to the same people at the same times."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from sqlalchemy import Connection, Row, select

from rayreel.client.messages import RecommendRequest
from rayreel.events.done import Done
from rayreel.events.export import WATCHED, name_of_session
from rayreel.events.popular import DAY_S, popular_videos
from rayreel.events.read import Owner, done_by, owner_of
from rayreel.events.tables import events, recommendations
from rayreel.experiments.offline import LoggedAnswer
from rayreel.recommendation.person import state_of
from rayreel.recommendation.popular import Popularity
from rayreel.recommendation.recommend import PinnedRelease, by_person, options_of
from rayreel.recommendation.scenarios import Scenario


@dataclass(frozen=True, eq=False)
class Replay:
    """Answers of a release in which a scenario explored; `target` is asked instead, without its own exploration.

    People are as they were then: what they did later is left out. Popularity is that at the start of the day, so that
    it does not know what the answer led to.
    """

    connection: Connection
    release: PinnedRelease
    target: Scenario

    def answers(self) -> Iterator[LoggedAnswer]:
        """Yield the answers. Those for articles, whose texts would have to be encoded, are left out."""
        table = recommendations
        query = select(table).where(table.c.propensities.is_not(None), table.c.release == self.release.live.version)
        for row in self.connection.execute(query.order_by(table.c.at)).all():
            asked = RecommendRequest.model_validate_json(row.query)
            if asked.user is not None and not asked.user.articles:
                yield self._answer(row, asked)

    def _answer(self, row: Row[Any], asked: RecommendRequest) -> LoggedAnswer:
        ids: list[str] = json.loads(row.shown)
        owner = owner_of(self.connection, row.user_id, row.session_id)
        shown, watched = ids[row.earlier :], self._watched.get(row.recommendation_id, set())
        return LoggedAnswer(
            person=owner.user_id or name_of_session(owner.session_id or ""),
            shown=shown,
            propensities=json.loads(row.propensities),
            watched=[video in watched for video in shown],
            target=self._target(asked, owner, row.at, ids[: row.earlier], len(shown)),
        )

    def _target(self, asked: RecommendRequest, owner: Owner, at: float, earlier: list[str], count: int) -> list[str]:
        """Return what the target would have shown instead of `count` videos."""
        assert asked.user is not None, "only answers for users are kept"
        config = self.release.config
        query = asked.model_copy(
            update={"exclude": [*asked.exclude, *earlier], "scenario": None, "top_k": count, "explain": False}
        )
        target = self.target.model_copy(update={"explore": 0.0})
        options = replace(options_of(query, config), scenario=target, now=at)
        before = [event for event in self._done(owner) if event.at < at]
        state = state_of(self.release.live, before, at, config)
        found = by_person(self.release, state, asked.user, options, self._popularity(at // DAY_S * DAY_S))
        return [video.video_id for video in found]

    @cached_property
    def _watched(self) -> dict[str, set[str]]:
        """The videos of each answer that were watched."""
        query = select(events.c.recommendation_id, events.c.video_id).where(
            events.c.recommendation_id.is_not(None), events.c.type.in_(WATCHED)
        )
        found: dict[str, set[str]] = {}
        for answer_id, video_id in self.connection.execute(query):
            found.setdefault(answer_id, set()).add(video_id)
        return found

    @lru_cache(1000)  # noqa: B019 - a replay lives as long as its connection
    def _done(self, owner: Owner) -> list[Done]:
        return done_by(self.connection, owner)

    @lru_cache(32)  # noqa: B019
    def _popularity(self, at: float) -> Popularity:
        config = self.release.config
        return Popularity(popular_videos(self.connection, config.popular_half_life_s, at), at, config)
