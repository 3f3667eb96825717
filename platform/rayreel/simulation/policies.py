"""Ways to choose what simulated people are shown: two without a service, two of the service."""

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from rayreel.client.client import Client
from rayreel.simulation.people import Reaction, SimulatedPerson


class Policy(Protocol):
    """Chooses videos for a person, and learns what they did with them."""

    def show(self, person: SimulatedPerson, count: int) -> list[str]:
        """Return videos that the person has not watched, best first."""
        ...

    def learn(self, person: SimulatedPerson, shown: Sequence[str], reactions: Sequence[Reaction]) -> None:
        """Take note of what they did."""
        ...


class RandomChoice:
    """Any videos."""

    def __init__(self, videos: Sequence[str], seed: int) -> None:
        self._videos, self._rng = list(videos), np.random.default_rng([seed, 2])

    def show(self, person: SimulatedPerson, count: int) -> list[str]:
        """Return random videos."""
        order = self._rng.permutation(len(self._videos))
        return [self._videos[place] for place in order if self._videos[place] not in person.seen][:count]

    def learn(self, person: SimulatedPerson, shown: Sequence[str], reactions: Sequence[Reaction]) -> None:
        """Learn nothing."""


class MostWatched(RandomChoice):
    """The videos that most people of this arm have watched, ties at random."""

    def __init__(self, videos: Sequence[str], seed: int) -> None:
        super().__init__(videos, seed)
        self._counts: Counter[str] = Counter()

    def show(self, person: SimulatedPerson, count: int) -> list[str]:
        """Return the most watched videos."""
        return sorted(super().show(person, len(self._videos)), key=lambda video: -self._counts[video])[:count]

    def learn(self, person: SimulatedPerson, shown: Sequence[str], reactions: Sequence[Reaction]) -> None:
        """Count views."""
        self._counts.update(reaction.video_id for reaction in reactions)


class LikeTheLast(RandomChoice):
    """The service's videos like the one that the person watched last; at first, any videos."""

    def __init__(self, videos: Sequence[str], seed: int, client: Client) -> None:
        super().__init__(videos, seed)
        self._client = client
        self._last: dict[str, str] = {}

    def show(self, person: SimulatedPerson, count: int) -> list[str]:
        """Ask the service by video."""
        if person.name not in self._last:
            return super().show(person, count)
        found = self._client.recommend(
            video_id=self._last[person.name], top_k=count, exclude=sorted(person.seen)[-1000:]
        )
        return [result.video_id for result in found.results]

    def learn(self, person: SimulatedPerson, shown: Sequence[str], reactions: Sequence[Reaction]) -> None:
        """Remember the last video."""
        if reactions:
            self._last[person.name] = reactions[-1].video_id


class KnownUser:
    """The service's recommendations for the user, who sends events."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._answer = ""

    def show(self, person: SimulatedPerson, count: int) -> list[str]:
        """Ask the service by user."""
        found = self._client.recommend(user={"user_id": person.name}, top_k=count)
        self._answer = found.recommendation_id
        return [result.video_id for result in found.results]

    def learn(self, person: SimulatedPerson, shown: Sequence[str], reactions: Sequence[Reaction]) -> None:
        """Send a view for each video watched, and an opinion if they have one."""
        events = list[dict[str, object]]()
        for reaction in reactions:
            of: dict[str, object] = {
                "user_id": person.name,
                "video_id": reaction.video_id,
                "recommendation_id": self._answer,
            }
            events.append(of | {"type": "view", "value": reaction.seconds})
            events += [of | {"type": reaction.opinion}] if reaction.opinion else []
        if events:
            self._client.send_events(events)
