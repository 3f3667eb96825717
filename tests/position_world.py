"""A planted world whose people choose from lists: the first result is watched whatever it is, lower ones rarely.

Lists are ordered by popularity and chance, not by taste. What people watch at last, in validation and test, they choose
from all videos by taste alone, as in `planted_world`.
"""

from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from planted_world import BEGIN, PlantedWorld
from rayreel.catalog.interactions import BEHAVIOUR, behaviour_schema

SHOWN, VISITS = 10, 60
# The chance to watch the first result, and of each later one to be looked at, as a share of the one before it.
FIRST, PATIENCE = 0.6, 0.8
# The appeal at which half of those who look watch a video: about one in ten has more.
HALF = 5.0


def shown_and_watched(world: PlantedWorld, seed: int = 0) -> pa.Table:
    """Return what everyone was shown, and two choices without a list after it."""
    rng = np.random.default_rng([seed, 7])
    users, videos = np.arange(world.config.users), world.config.videos
    seen_UV = np.zeros((len(users), videos), bool)
    rows: list[dict[str, Any]] = []
    for visit in range(VISITS):
        moment_U = np.full(len(users), visit / (VISITS + 2))
        appeal_UV = world.appeal(users, moment_U)
        order_UV = world.popularity_V + rng.gumbel(size=seen_UV.shape)
        order_UV[seen_UV] = -np.inf
        shown_UK = np.argsort(-order_UV, axis=1)[:, :SHOWN]
        liked_UK = 1 / (1 + np.exp(HALF - np.take_along_axis(appeal_UV, shown_UK, axis=1)))
        chance_UK = liked_UK * PATIENCE ** np.arange(SHOWN)
        chance_UK[:, 0] = FIRST
        watched_UK = rng.random(chance_UK.shape) < chance_UK
        np.put_along_axis(seen_UV, shown_UK, watched_UK | np.take_along_axis(seen_UV, shown_UK, axis=1), axis=1)
        rows += _rows(world, shown_UK, watched_UK, moment_U)
    for visit in (VISITS, VISITS + 1):
        moment_U = np.full(len(users), visit / (VISITS + 2))
        clocks_UV = world.appeal(users, moment_U) + rng.gumbel(size=seen_UV.shape)
        clocks_UV[seen_UV] = -np.inf
        chosen_U = clocks_UV.argmax(axis=1)
        seen_UV[users, chosen_U] = True
        rows += [
            {**row, "position": None} for row in _rows(world, chosen_U[:, None], np.ones((len(users), 1)), moment_U)
        ]
    return pa.Table.from_pylist(rows, schema=behaviour_schema(BEHAVIOUR))


def _rows(
    world: PlantedWorld, shown_UK: NDArray[np.int64], watched_UK: NDArray[Any], moment_U: NDArray[np.float64]
) -> list[dict[str, Any]]:
    days = world.config.days
    return [
        {
            "user_id": f"user-{user:06d}",
            "video_id": f"video-{video:06d}",
            "timestamp": BEGIN + timedelta(days=days * float(moment_U[user]), seconds=place),
            "type": "view" if watched_UK[user, place] else "impression",
            "position": place,
        }
        for user, videos in enumerate(shown_UK)
        for place, video in enumerate(videos)
    ]
