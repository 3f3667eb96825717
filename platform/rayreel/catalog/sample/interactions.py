"""Simulate viewers of the sample set."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.random import Generator
from numpy.typing import NDArray

from rayreel.catalog.interactions import SCHEMA
from rayreel.catalog.sample.clip import SampleClip
from rayreel.catalog.sample.config import SampleConfig

FIRST_VIEW = datetime(2026, 1, 1, tzinfo=UTC)  # all clips were uploaded in the 90 days before
PREFERRED_SHARE = 0.8

Weights = NDArray[np.float64]


def simulate_interactions(clips: list[SampleClip], config: SampleConfig) -> pa.Table:
    """Return interactions sorted by time, in the columns of `catalog.interactions.SCHEMA`. Ratings are 1 to 5.

    Each viewer prefers two or three categories: 80% of the views are from them while unseen clips remain, and these are
    watched longer and rated higher. Some clips are more popular than others. Viewers never watch a clip twice.
    """
    rng = np.random.default_rng([config.seed, 1])
    popularity = rng.lognormal(0.0, 0.7, len(clips))
    rows: list[dict[str, Any]] = []
    for user in range(config.users):
        views = _choose_views(clips, popularity, config.views_per_user, rng)
        rows += [{"user_id": f"user_{user + 1:03d}"} | view for view in views]
    rows.sort(key=lambda row: (row["timestamp"], row["user_id"]))
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _choose_views(clips: list[SampleClip], popularity: Weights, mean: int, rng: Generator) -> Iterator[dict[str, Any]]:
    """Draw a viewer's preferred categories and yield their views."""
    categories = np.array([clip.category for clip in clips])
    present = np.unique(categories)
    favourites = rng.choice(present, min(int(rng.integers(2, 4)), max(1, len(present) - 1)), replace=False)
    preferred = np.isin(categories, favourites)
    views = max(1, int(rng.poisson(mean)))
    liked = int(rng.binomial(views, PREFERRED_SHARE))
    seen = [*_draw(popularity * preferred, liked, rng), *_draw(popularity * ~preferred, views - liked, rng)]
    for i in seen:
        rating = np.clip(rng.normal(4.3, 0.6) if preferred[i] else rng.normal(2.7, 0.8), 1, 5)
        watched = rng.beta(6, 1.5) if preferred[i] else rng.beta(2, 3)
        yield {
            "video_id": clips[i].video_id,
            "timestamp": FIRST_VIEW + timedelta(seconds=int(rng.integers(60 * 24 * 3600))),
            "rating": round(float(rating), 1),
            "dwell_s": round(float(watched) * clips[i].seconds, 2),
        }


def _draw(weights: Weights, count: int, rng: Generator) -> list[int]:
    """Draw up to `count` different clips, excluding those with weight zero."""
    possible = int(np.count_nonzero(weights))
    if not possible:
        return []
    drawn = rng.choice(np.arange(len(weights)), min(count, possible), replace=False, p=weights / weights.sum())
    return [int(i) for i in drawn]


def write_interactions(table: pa.Table, folder: Path) -> Path:
    """Write `folder`/interactions.csv and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "interactions.csv"
    pa_csv.write_csv(table, path)
    return path
