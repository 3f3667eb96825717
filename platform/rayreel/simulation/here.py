"""Ways to choose of the service, without a service: a release in this process, and a user tower that is retrained."""

import logging
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import NoReturn
from zlib import crc32

import numpy as np
import pyarrow as pa

from rayreel.catalog.interactions import SCHEMA
from rayreel.client.messages import User
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.exam import Exam
from rayreel.evaluation.weights import STARS
from rayreel.events.done import Done
from rayreel.features.matrix import FeatureMatrix
from rayreel.recommendation.config import RecommendConfig
from rayreel.recommendation.live import Live
from rayreel.recommendation.local import IndexOnDemand
from rayreel.recommendation.person import state_of
from rayreel.recommendation.popular import Popularity
from rayreel.recommendation.query import Options
from rayreel.recommendation.recommend import PinnedRelease, by_person
from rayreel.recommendation.scenarios import Scenario
from rayreel.release.snapshot import Snapshot
from rayreel.simulation.people import Reaction, SimulatedPerson
from rayreel.simulation.policies import Policy, RandomChoice
from rayreel.tower.config import UserTowerConfig
from rayreel.training.users.choose import UserChoice, train_users

log = logging.getLogger(__name__)

BEGIN_S = 1_767_225_600.0
# Between two visits of a person, and between two reactions.
VISIT_S, PAUSE_S = 86_400.0, 60.0
# Every video may be trained on, and all but the newest views: nothing is held back for a report.
SPLITS = SplitConfig(test=0.0, validation=0.1, test_period=0.01)


class ServedHere:
    """A snapshot's answers for known people, by their interests, or by a user tower after `retrain`."""

    def __init__(self, snapshot: Snapshot, config: RecommendConfig, explore: float = 0.0) -> None:
        self._snapshot, self._config = snapshot, config.model_copy(update={"exact_cells": sys.maxsize})
        self._scenario = Scenario(explore=explore) if explore else None
        self._live = Live.of(replace(snapshot, users=None))
        self._done: defaultdict[str, list[Done]] = defaultdict(list)
        self._visits = Counter[str]()
        self._popularity = Popularity({}, BEGIN_S, config)

    def show(self, person: SimulatedPerson, count: int) -> list[str]:
        """Return what the service would, with everything that the person has done."""
        newest = self._done[person.name][::-1]
        state = state_of(self._live, newest, self._time_of(person), self._config)
        release = PinnedRelease(self._live, IndexOnDemand(_no_index), "", self._config)
        options = Options(top_k=count, scenario=self._scenario)
        found = by_person(release, state, User(user_id=person.name), options, self._popularity)
        return [video.video_id for video in found]

    def learn(self, person: SimulatedPerson, shown: Sequence[str], reactions: Sequence[Reaction]) -> None:
        """Keep a view for each video watched, and an opinion if they have one."""
        events, now = self._done[person.name], self._time_of(person)
        for number, reaction in enumerate(reactions):
            at = now + PAUSE_S * number
            events.append(Done(reaction.video_id, "view", reaction.seconds, at))
            if reaction.opinion is not None:
                events.append(Done(reaction.video_id, reaction.opinion, None, at))
        self._visits[person.name] += 1

    def retrain(self, config: UserTowerConfig, seed: int, *, gate: bool = True) -> UserChoice:
        """Train a user tower on everything that was done until now, and use it if its gate, if any, releases it."""
        ids = self._snapshot.ids
        empty = pa.array([None] * len(ids), pa.string())
        rows = pa.table({"video_id": ids, "content_hash": empty, "source": empty, "extra": pa.array(["{}"] * len(ids))})
        exam = Exam.of(FeatureMatrix({}, rows), SPLITS, EvaluationConfig(), self.interactions())
        choice = train_users(np.array(self._snapshot.embeddings_ND), exam, config, seed, gate=gate)
        log.info("user tower: %s", choice)
        if choice.tower is not None:  # else the one before it continues to serve
            self._live = Live.of(replace(self._snapshot, users=choice.tower))
        return choice

    def _time_of(self, person: SimulatedPerson) -> float:
        """When the person's present visit begins: once a day, at a time of their own."""
        time_of_day = crc32(person.name.rpartition("-")[2].encode()) / 2**32  # the same in every arm
        return BEGIN_S + VISIT_S * (self._visits[person.name] + time_of_day / 2)

    def interactions(self) -> pa.Table:
        """Return who watched what, as an export of the event store has it."""
        rows = [
            {
                "user_id": name,
                "video_id": event.video_id,
                "timestamp": datetime.fromtimestamp(event.at, UTC),
                "rating": STARS if event.type == "like" else None,
                "dwell_s": event.value,
            }
            for name, done in self._done.items()
            for event in done
            if event.type != "dislike"
        ]
        return pa.Table.from_pylist(rows, schema=SCHEMA)


class AtRandomFirst(RandomChoice):
    """Any videos, of which a policy learns: what is known before it begins to choose."""

    def __init__(self, videos: Sequence[str], seed: int, policy: Policy) -> None:
        super().__init__(videos, seed)
        self._policy = policy

    def learn(self, person: SimulatedPerson, shown: Sequence[str], reactions: Sequence[Reaction]) -> None:
        """Have the policy take note."""
        self._policy.learn(person, shown, reactions)


def _no_index() -> NoReturn:
    raise AssertionError("every release is searched exactly here")
