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
PERIOD_S = 60 * 24 * 3600
SESSION_VIEWS = 4
ON_TOPIC_SHARE = 0.85
STYLE_LIFT = 8.0  # how many times likelier a viewer watches a clip of their style than another one

Weights = NDArray[np.float64]


def simulate_interactions(clips: list[SampleClip], config: SampleConfig) -> pa.Table:
    """Return interactions sorted by time, in the columns of `catalog.interactions.SCHEMA`. Ratings are 1 to 5.

    Each viewer prefers two or three categories and, in all categories, one style. A session is about one of these
    categories: 85% of its views are, while unseen clips remain. Preferred clips are watched longer and rated higher.
    Few clips are very popular. Viewers never watch a clip twice.
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
    """Draw a viewer's preferred categories and style, and yield their views."""
    categories, styles = (np.array([getattr(clip, name) for clip in clips]) for name in ("category", "style"))
    present = np.unique(categories)
    favourites = rng.choice(present, min(int(rng.integers(2, 4)), max(1, len(present) - 1)), replace=False)
    appeal = popularity * np.where(styles == rng.choice(np.unique(styles)), STYLE_LIFT, 1.0)
    for _ in range(max(1, int(rng.poisson(mean / SESSION_VIEWS)))):
        start, topic = int(rng.integers(PERIOD_S)), rng.choice(favourites)
        for minute in range(SESSION_VIEWS):
            weights = appeal * (categories == topic) if rng.random() < ON_TOPIC_SHARE else appeal
            if not weights.any():
                continue
            seen = int(rng.choice(len(clips), p=weights / weights.sum()))
            appeal[seen] = 0
            moment = FIRST_VIEW + timedelta(seconds=start + 60 * minute)
            yield _view(clips[seen], moment, clips[seen].category in favourites, rng)


def _view(clip: SampleClip, moment: datetime, preferred: bool, rng: Generator) -> dict[str, Any]:
    rating = np.clip(rng.normal(4.3, 0.6) if preferred else rng.normal(2.7, 0.8), 1, 5)
    watched = rng.beta(6, 1.5) if preferred else rng.beta(2, 3)
    return {
        "video_id": clip.video_id,
        "timestamp": moment,
        "rating": round(float(rating), 1),
        "dwell_s": round(float(watched) * clip.seconds, 2),
    }


def write_interactions(table: pa.Table, folder: Path) -> Path:
    """Write `folder`/interactions.csv and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "interactions.csv"
    pa_csv.write_csv(table, path)
    return path
