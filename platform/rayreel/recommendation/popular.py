"""Popular and new videos, for people of whom nothing is known."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from zlib import crc32

from rayreel.recommendation.candidates import Constraints, RankedCandidates
from rayreel.recommendation.config import RecommendConfig
from rayreel.recommendation.live import Live

STAGE = "popular"


@dataclass(frozen=True, eq=False)
class Popularity:
    """How popular videos are: `shares` are relative to the most popular one. `at`: when this was found, epoch seconds.

    Identity is equality, so rankings are computed once per state of the release.
    """

    shares: Mapping[str, float]
    at: float
    config: RecommendConfig

    def score(self, live: Live, place: int) -> float:
        """Return the share of a video plus its freshness, which halves with its age."""
        row = live.row(place)
        fresh = 0.0
        if row.created_at is not None:
            age_s = max(self.at - row.created_at, 0.0)
            fresh = self.config.freshness * 0.5 ** min(age_s / self.config.fresh_half_life_s, 100.0)
        return self.shares.get(row.video_id, 0.0) + fresh


@dataclass(frozen=True, slots=True)
class PopularVideos:
    """A source of the most popular and newest videos, the same for every query."""

    live: Live
    popularity: Popularity

    def nearest(self, count: int, constraints: Constraints) -> RankedCandidates:
        """Return the `count` most popular allowed videos, or all if there are fewer."""
        ranked = _ranked(self.live, self.popularity)
        kept = list(islice((pair for pair in ranked if constraints.allows(self.live, pair[0])), count))
        return RankedCandidates([place for place, _ in kept], [score for _, score in kept], [STAGE] * len(kept))


@lru_cache(2)
def _ranked(live: Live, popularity: Popularity) -> list[tuple[int, float]]:
    """All places with their scores, best first.

    Ties are in a random order that is always the same: in the order of ids, which often begin with the category, the
    first page of a new service would show a single one.
    """
    ids = sorted((row.video_id for row in live.page("", len(live))), key=lambda video_id: crc32(video_id.encode()))
    places = map(live.place, ids)
    return sorted(((place, popularity.score(live, place)) for place in places), key=lambda pair: -pair[1])
