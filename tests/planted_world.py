"""A world with planted structure: what people choose by is a small part of the videos' features, which no cosine finds.

A video has a taste and a style, both random. Its features are both, turned at random into the features' space: style
with most of the variance, taste with little. People choose by taste alone. So likeness of content is likeness of style
and tells nothing; which part of the features counts can only be learned from who watched what.
"""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from sklearn.preprocessing import normalize

from rayreel.catalog.interactions import SCHEMA
from rayreel.encoders.encoder import Modality
from rayreel.features.key import EncoderKey
from rayreel.features.schema import QUARANTINE, feature_schema
from rayreel.features.store import FeatureStore
from rayreel.media.config import SamplingConfig
from rayreel.storage import Storage

DIMS = {Modality.VISUAL: 192, Modality.AUDIO: 64, Modality.TEXT: 96}
COUNTS = {Modality.VISUAL: 4, Modality.AUDIO: 2, Modality.TEXT: 1}
KEY = EncoderKey(
    identities={modality: f"planted_{modality.value}@0+1" for modality in Modality},
    dims=DIMS,
    frame_size=32,
    sampling=SamplingConfig(),
)
BEGIN, DAY_S = datetime(2026, 1, 1, tzinfo=UTC), 24 * 3600
_CELLS = 2**20  # appeals at a time: they stay in the cache


class WorldConfig(BaseModel):
    """How many videos and users, and how deep the taste is hidden."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    videos: int = Field(3000, ge=50, description="videos")
    users: int = Field(2000, ge=20, description="users")
    views: int = Field(40, ge=3, description="views per user")
    days: float = Field(60, gt=0, description="days from the first view to the last")
    appearing: float = Field(0.8, ge=0, le=1, description="share of the time, from its begin, in which videos appear")
    tastes: int = Field(12, ge=2, description="dimensions of taste")
    styles: int = Field(40, ge=2, description="dimensions of style")
    taste_std: float = Field(0.4, gt=0, description="taste in the features, against style's 1 in every dimension")
    noise_std: float = Field(0.25, ge=0, description="noise of each vector, in every dimension of the features")
    decided: float = Field(10.0, gt=0, description="how surely people choose by taste; 0 would be chance")
    popularity_std: float = Field(0.5, ge=0, description="what makes videos popular besides, seen in no feature")
    seed: int = Field(0, description="another seed, another world")


class World:
    """Videos, users and views. Tastes are unit vectors; a user's taste moves from their first vector to their second.

    begin_V, moment_UW: when videos appear and when users watch, in shares of all days. watched_UW: row of the video.
    """

    def __init__(self, config: WorldConfig) -> None:
        rng = np.random.default_rng([config.seed, 0])
        self.config = config
        self.taste_VK = normalize(rng.normal(size=(config.videos, config.tastes))).astype(np.float32)
        self.style_VS = rng.normal(size=(config.videos, config.styles))
        self.popularity_V = (config.popularity_std * rng.normal(size=config.videos)).astype(np.float32)
        self.begin_V = config.appearing * rng.random(config.videos)
        self.begin_V[rng.random(config.videos) < 1 / 3] = 0  # so that the first views have something to choose from
        self.user_2UK = normalize(rng.normal(size=(2 * config.users, config.tastes))).reshape(2, config.users, -1)
        self.moment_UW = np.sort(rng.random((config.users, config.views)), axis=1)
        self.watched_UW = self._watch(rng)

    def names(self) -> list[str]:
        """The ids of the videos, by row: as a feature store orders them."""
        return [f"video-{row:06d}" for row in range(self.config.videos)]

    def appeal(self, users_Q: NDArray[np.int64], moments_Q: NDArray[np.float64]) -> NDArray[np.float32]:
        """[Q, V]: log of how likely these users at these moments are to choose each video, up to a constant."""
        turned_Q1 = (np.pi / 2 * moments_Q)[:, None]
        taste_QK = np.cos(turned_Q1) * self.user_2UK[0, users_Q] + np.sin(turned_Q1) * self.user_2UK[1, users_Q]
        drawn_QK = (self.config.decided * normalize(taste_QK)).astype(np.float32)
        appeal_QV: NDArray[np.float32] = drawn_QK @ self.taste_VK.T + self.popularity_V
        return appeal_QV

    def features(self) -> pa.Table:
        """Feature rows, as extraction would write them."""
        rng = np.random.default_rng([self.config.seed, 1])
        spread = self.config.taste_std * np.sqrt(self.config.tastes)  # of unit vectors, in each of their dimensions
        hidden_VH = np.concatenate([spread * self.taste_VK, self.style_VS], axis=1)
        vectors = {modality: self._seen(hidden_VH, modality, rng) for modality in Modality}
        rows = [self._row(row, name, vectors) for row, name in enumerate(self.names())]
        return pa.Table.from_pylist(rows, schema=feature_schema(DIMS))

    def interactions(self) -> pa.Table:
        """Who watched what and when."""
        names = self.names()
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

    def _watch(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """[U, W]: each user's next video is drawn by appeal from the available videos that they have not seen."""
        users, views = self.moment_UW.shape
        watched_UW = np.empty((users, views), np.int64)
        for some in np.array_split(np.arange(users), -(-users * self.config.videos // _CELLS)):
            seen = np.zeros((len(some), self.config.videos), bool)
            for view in range(views):
                moments = self.moment_UW[some, view]
                # The first of exponential clocks that run at these rates is a draw by these rates.
                clocks = rng.standard_exponential(seen.shape, dtype=np.float32) * np.exp(-self.appeal(some, moments))
                clocks[seen | (self.begin_V > moments[:, None])] = np.inf
                watched_UW[some, view] = clocks.argmin(axis=1)
                seen[np.arange(len(some)), watched_UW[some, view]] = True
        return watched_UW

    def _seen(
        self, hidden_VH: NDArray[np.float64], modality: Modality, rng: np.random.Generator
    ) -> NDArray[np.float16]:
        """[V, N, D]: what is hidden, turned into the modality's space, with noise in every vector."""
        turn_HD = np.linalg.qr(rng.normal(size=(DIMS[modality], hidden_VH.shape[1])))[0].T
        shown_VD = hidden_VH @ turn_HD
        shape = (len(shown_VD), COUNTS[modality], DIMS[modality])
        noisy_VND: NDArray[np.float64] = shown_VD[:, None] + self.config.noise_std * rng.normal(size=shape)
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


def store_world(world: World, storage: Storage) -> FeatureStore:
    """Write the videos' features below an empty storage root, as extraction would."""
    store, table = FeatureStore(storage, KEY), world.features()
    store.create()
    store.set_catalog(list(zip(*(table[name].to_pylist() for name in ("video_id", "version")), strict=True)))
    store.add(table, QUARANTINE.empty_table())
    return store
