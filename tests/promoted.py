"""A storage root with a promoted release of 40 videos, made without videos, index and Ray."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import rayreel
from rayreel.encoders.load import load_encoders
from rayreel.features.key import EncoderKey
from rayreel.features.store import FeatureStore
from rayreel.release import audit
from rayreel.release.journal import Switch
from rayreel.release.rows import ReleaseRows
from rayreel.release.snapshot import write_snapshot
from rayreel.settings import Settings, load_settings
from rayreel.tower.config import TowerConfig
from rayreel.tower.tower import VideoTower
from rayreel.training.tracking import use_tracking
from release_rows import DIM, release_row, release_table
from release_site import register
from tracking_database import with_database

RANDOM = {"encoders.random_weights": True, "encoders.device": "cpu"}


@dataclass(frozen=True)
class Promoted:
    """The settings of the root and the videos' embeddings."""

    settings: Settings
    embeddings: dict[str, np.ndarray]

    def nearest(self, query_D: np.ndarray, count: int, without: str = "") -> list[str]:
        """Return the ids with the highest cosines, by brute force."""
        cosines = {name: float(vector @ query_D) for name, vector in self.embeddings.items() if name != without}
        return sorted(cosines, key=lambda name: -cosines[name])[:count]

    def recommend(self, **query: Any) -> list[str]:  # noqa: ANN401
        """Return the ids of the results of `rayreel.recommend`."""
        return [found.video_id for found in rayreel.recommend(settings=self.settings, **query)]


def make_promoted(folder: Path) -> Promoted:
    """Register a tower, write its rows and a snapshot with 8 neighbours of each, and record a promotion."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    sets = [f"{name}={json.dumps(value)}" for name, value in RANDOM.items()]
    settings = load_settings(sets=sets, storage=with_database(folder / "storage").root)
    torch.manual_seed(0)
    key = EncoderKey.of(load_encoders(settings.encoders, settings.weights_cache), settings.sampling)
    FeatureStore(settings.place, key).create()
    use_tracking(settings.place)
    version = register(settings.place, VideoTower(TowerConfig(dim=DIM), key.dims), folder / "tower", str(key))
    videos = [release_row(f"v{n:02}", category=f"c{n % 4}") for n in range(40)]
    rows = ReleaseRows(settings.place, version.number)
    rows.add(release_table(*videos))
    write_snapshot(settings.place, rows, neighbours=8)
    audit.record(Switch("promoted", version.number, None, None, by="test", at="2026-01-01T00:00:00+00:00"))
    return Promoted(settings, {row["video_id"]: row["embedding"] for row in videos})
