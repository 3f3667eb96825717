"""A world with planted structure: users choose by a small part of the videos' features, which no cosine finds.

A video has a random taste and a random style. Its features are a random rotation of both: style with most of the
variance, taste with little. Users choose by taste alone. So similar content means similar style, which predicts
nothing; which part of the features matters can only be learned from who watched what.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.preprocessing import normalize

from rayreel.catalog.interactions import SCHEMA
from rayreel.encoders.encoder import Modality
from rayreel.features.key import EncoderKey
from rayreel.features.schema import feature_schema
from rayreel.media.config import SamplingConfig

DIMS = {Modality.VISUAL: 192, Modality.AUDIO: 64, Modality.TEXT: 96}
COUNTS = {Modality.VISUAL: 4, Modality.AUDIO: 2, Modality.TEXT: 1}
KEY = EncoderKey(
    identities={modality: f"planted_{modality.value}@0+1" for modality in Modality},
    dims=DIMS,
    frame_size=32,
    sampling=SamplingConfig(),
)
BEGIN, DAY_S = datetime(2026, 1, 1, tzinfo=UTC), 24 * 3600
_CELLS = 2**20  # appeals computed at a time, so that they stay in the cache


@dataclass(frozen=True)
class PlantedConfig:
    """Size of the world, and how deep the taste is hidden.

    Standard deviations are per dimension; style has 1. `appearing`: share of the days, from the first, in which videos
    appear. `decisiveness`: how strongly users choose by taste; 0 would be chance. `popularity_std`: appeal of a video
    that no feature shows.
    """

    videos: int = 600
    users: int = 600
    views: int = 30
    days: float = 60
    appearing: float = 0.8
    tastes: int = 6
    styles: int = 20
    taste_std: float = 0.5
    noise_std: float = 0.25
    decisiveness: float = 10.0
    popularity_std: float = 0.5
    seed: int = 0


class PlantedWorld:
    """Videos, users and views. Tastes are unit vectors; a user's taste moves from their first vector to their second.

    begin_V, moment_UW: when videos appear and when users watch, as shares of all days. watched_UW: row of the video.
    """

    def __init__(self, config: PlantedConfig) -> None:
        rng = np.random.default_rng([config.seed, 0])
        self.config = config
        self.taste_VK = normalize(rng.normal(size=(config.videos, config.tastes))).astype(np.float32)
        self.style_VS = rng.normal(size=(config.videos, config.styles))
        self.popularity_V = (config.popularity_std * rng.normal(size=config.videos)).astype(np.float32)
        self.begin_V = config.appearing * rng.random(config.videos)
        self.begin_V[rng.random(config.videos) < 1 / 3] = 0  # videos for the first views to choose from
        self.user_2UK = normalize(rng.normal(size=(2 * config.users, config.tastes))).reshape(2, config.users, -1)
        self.moment_UW = np.sort(rng.random((config.users, config.views)), axis=1)
        self.watched_UW = self._watch(rng)

    def appeal(self, users_Q: NDArray[np.int64], moments_Q: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return [Q, V]: log of how likely these users at these moments choose each video, up to a constant."""
        angle_Q1 = (np.pi / 2 * moments_Q)[:, None]
        taste_QK = np.cos(angle_Q1) * self.user_2UK[0, users_Q] + np.sin(angle_Q1) * self.user_2UK[1, users_Q]
        drawn_QK = (self.config.decisiveness * normalize(taste_QK)).astype(np.float32)
        appeal_QV: NDArray[np.float32] = drawn_QK @ self.taste_VK.T + self.popularity_V
        return appeal_QV

    def features(self) -> pa.Table:
        """Return feature rows as extraction would write them. Titles name the strongest styles."""
        rng = np.random.default_rng([self.config.seed, 1])
        spread = self.config.taste_std * np.sqrt(self.config.tastes)  # of unit vectors, per dimension
        hidden_VH = np.concatenate([spread * self.taste_VK, self.style_VS], axis=1)
        vectors = {modality: self._visible(hidden_VH, modality, rng) for modality in Modality}
        rows = [self._row(row, name, vectors) for row, name in enumerate(self._names())]
        return pa.Table.from_pylist(rows, schema=feature_schema(DIMS))

    def interactions(self) -> pa.Table:
        """Return who watched what and when."""
        names = self._names()
        rows = [
            {
                "user_id": f"user-{user:06d}",
                "video_id": names[video],
                "timestamp": BEGIN + timedelta(days=self.config.days * float(moment)),
            }
            for user, views in enumerate(zip(self.watched_UW, self.moment_UW, strict=True))
            for video, moment in zip(*views, strict=True)
        ]
        return pa.Table.from_pylist(rows, schema=SCHEMA)

    def _names(self) -> list[str]:
        return [f"video-{row:06d}" for row in range(self.config.videos)]

    def _watch(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw each user's next video by appeal from the available videos that they have not seen; [U, W]."""
        users, views = self.moment_UW.shape
        watched_UW = np.empty((users, views), np.int64)
        for some in np.array_split(np.arange(users), -(-users * self.config.videos // _CELLS)):
            seen = np.zeros((len(some), self.config.videos), bool)
            for view in range(views):
                moments = self.moment_UW[some, view]
                # The first of exponential clocks with these rates is a draw in proportion to the rates.
                clocks = rng.standard_exponential(seen.shape, dtype=np.float32) * np.exp(-self.appeal(some, moments))
                clocks[seen | (self.begin_V > moments[:, None])] = np.inf
                watched_UW[some, view] = clocks.argmin(axis=1)
                seen[np.arange(len(some)), watched_UW[some, view]] = True
        return watched_UW

    def _visible(
        self, hidden_VH: NDArray[np.float64], modality: Modality, rng: np.random.Generator
    ) -> NDArray[np.float16]:
        """Rotate what is hidden into the modality's space and add noise to every vector; [V, N, D]."""
        rotation_HD = np.linalg.qr(rng.normal(size=(DIMS[modality], hidden_VH.shape[1])))[0].T
        clear_VD = hidden_VH @ rotation_HD
        shape = (len(clear_VD), COUNTS[modality], DIMS[modality])
        noisy_VND: NDArray[np.float64] = clear_VD[:, None] + self.config.noise_std * rng.normal(size=shape)
        return noisy_VND.astype(np.float16)

    def _row(self, row: int, name: str, vectors: dict[Modality, NDArray[np.float16]]) -> dict[str, object]:
        strongest = np.argsort(-np.abs(self.style_VS[row]))[:3]
        return {
            "video_id": name,
            "uri": f"planted/{name}",
            "title": " ".join(f"{'much' if self.style_VS[row, n] > 0 else 'little'}{n}" for n in strongest),
            "description": "",
            "category": "",
            "tags": [],
            "extra": "{}",
            "version": str(self.config.seed),
            "content_hash": name,
            "has_audio": True,
            "encoder_key": str(KEY),
        } | {modality.value: list(vectors[modality][row]) for modality in Modality}
