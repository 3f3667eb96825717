"""Simulated people: what they like, when they tire of it, and how it changes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

# The chance to watch a video of a favourite category, and of any other.
FAVOURITE, OTHER = 0.45, 0.05
# Each further result is looked at with this share of the chance of the one before it.
PATIENCE = 0.85
# How much each video of a category that was watched in the same visit lowers the chance of the next.
TIRED = 0.7
LIKES, DISLIKES = 0.5, 0.1


class Reaction(NamedTuple):
    """What a person did with a result; `seconds` watched."""

    video_id: str
    seconds: float
    opinion: str | None


@dataclass(slots=True)
class SimulatedPerson:
    """Someone with favourite categories. `seen` are the videos they have watched, which they do not watch again."""

    name: str
    favourites: set[str]
    rng: Generator
    seen: set[str] = field(default_factory=set)

    def react(self, shown: Sequence[str], world: "World") -> list[Reaction]:
        """Look at results from the first on, and watch what appeals. The service does not know the reasons."""
        reactions, watched = [], Counter[str]()
        for rank, video_id in enumerate(shown):
            category = world.categories[video_id]
            chance = self.interest(video_id, world) * PATIENCE**rank * TIRED ** watched[category]
            if self.rng.random() < chance and video_id not in self.seen:
                watched[category] += 1
                self.seen.add(video_id)
                reactions.append(self._watch(video_id, category, world))
        return reactions

    def interest(self, video_id: str, world: "World") -> float:
        """Return the chance to watch a video that is the first result."""
        chance = FAVOURITE if world.categories[video_id] in self.favourites else OTHER
        return chance * world.appeal[video_id]

    def drift(self, chance: float, world: "World") -> None:
        """With this chance, give up one favourite category for another."""
        others = sorted(set(world.categories.values()) - self.favourites)
        if self.rng.random() < chance and others and self.favourites:
            self.favourites.remove(str(self.rng.choice(sorted(self.favourites))))
            self.favourites.add(str(self.rng.choice(others)))

    def _watch(self, video_id: str, category: str, world: "World") -> Reaction:
        loved = category in self.favourites
        share = self.rng.beta(6, 1.5) if loved else self.rng.beta(2, 3)
        chosen = self.rng.random()
        opinion = ("like" if chosen < LIKES else None) if loved else "dislike" if chosen < DISLIKES else None
        return Reaction(video_id, round(float(share) * world.seconds[video_id], 2), opinion)


@dataclass(frozen=True, slots=True)
class World:
    """The catalog as people see it: categories, durations, and how appealing each video is to everyone."""

    categories: Mapping[str, str]
    seconds: Mapping[str, float]
    appeal: Mapping[str, float]

    @classmethod
    def of(cls, categories: Mapping[str, str], seconds: Mapping[str, float], seed: int) -> "World":
        """Return a world whose videos differ in appeal, from half to twice the mean."""
        rng = np.random.default_rng([seed, 0])
        appeal = np.exp(rng.uniform(-np.log(2), np.log(2), len(categories)))
        return cls(categories, seconds, dict(zip(sorted(categories), appeal.tolist(), strict=True)))

    def people(self, count: int, prefix: str, seed: int) -> list[SimulatedPerson]:
        """Return people with one to three favourite categories; the same seed gives the same people."""
        known = sorted(set(self.categories.values()) - {""})
        people = []
        for number in range(count):
            rng = np.random.default_rng([seed, 1, number])
            favourites = rng.choice(known, min(int(rng.integers(1, 4)), len(known)), replace=False)
            people.append(SimulatedPerson(f"{prefix}-{number:04}", set(favourites.tolist()), rng))
        return people
