"""A storage root with features and registered towers, for tests of promotion."""

import os
from pathlib import Path

import mlflow
import numpy as np
import torch
from torch.nn import functional as F

from feature_rows import DIMS, KEY, clusters_table
from layers import linear, sequential
from rayreel.encoders.encoder import Modality, WordEncoders
from rayreel.evaluation.config import EvaluationConfig
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore
from rayreel.index.config import IndexConfig
from rayreel.index.connect import connect
from rayreel.release import registry
from rayreel.release.config import GatesConfig, ReleaseConfig
from rayreel.release.registry import Version
from rayreel.release.site import Site
from rayreel.storage import Storage
from rayreel.tower.config import TowerConfig
from rayreel.tower.embedder import Embedder
from rayreel.tower.save import save_tower
from rayreel.tower.tower import VideoTower
from rayreel.training.tracking import tracked, use_tracking

EVALUATION = EvaluationConfig(ks=(1, 10), neighbour_ks=(1,), bootstrap=500)
SPLITS = {"test": 0.4, "validation": 0.1}
VIDEOS = clusters_table(categories=4, each=25, spread=4.0)
DIM = 16


class CategoryNames:
    """A text encoder for tests: returns the mean text vector of the category that a text names."""

    identity = KEY.identities[Modality.TEXT]
    dim = DIMS[Modality.TEXT]

    def encode(self, texts: list[str], *, query: bool = False) -> np.ndarray:
        """Return one vector per text; each text must be a category."""
        assert query
        matrix = FeatureMatrix.from_table(VIDEOS)
        of_category = [np.array(matrix.column("category")) == text for text in texts]
        vectors = matrix.vectors[Modality.TEXT].values.astype(np.float32)
        return np.stack([vectors[chosen].mean(axis=0) for chosen in of_category])

    def knows(self, word: str) -> bool:
        """Whether a word is a category."""
        return word in FeatureMatrix.from_table(VIDEOS).column("category")


def words() -> WordEncoders:
    """Return the encoders of queries in words."""
    return WordEncoders({Modality.TEXT: CategoryNames()})


def store_of(storage: Storage) -> FeatureStore:
    """Return the feature store of the tests' encoders, with all videos."""
    store = FeatureStore(storage, KEY)
    store.create()
    store.set_catalog(list(zip(*(VIDEOS[name].to_pylist() for name in ("video_id", "version")), strict=True)))
    store.add(VIDEOS, QUARANTINE.empty_table())
    return store


def good_tower() -> VideoTower:
    """Return a tower that projects onto the categories' means, as if trained."""
    tower, matrix = _tower(tuple(Modality)), FeatureMatrix.from_table(VIDEOS)
    categories = np.array(matrix.column("category"))
    for modality in Modality:
        standardise, norm, _, last = sequential(tower.project[modality.value])
        ragged = matrix.vectors[modality]
        seen_ND = norm(standardise(torch.from_numpy(ragged.values.copy()).float()))
        of_video = np.repeat(categories, ragged.counts)
        means_CD = torch.stack([seen_ND[of_video == name].mean(dim=0) for name in np.unique(categories)])
        with torch.no_grad():
            linear(last).weight.zero_()
            linear(last).weight[: len(means_CD)] = F.normalize(means_CD - means_CD.mean(dim=0), dim=-1)
    return tower


def weak_tower() -> VideoTower:
    """Return a tower that uses audio only."""
    return _tower((Modality.AUDIO,))


def register(storage: Storage, tower: Embedder, folder: Path, encoder_key: str = str(KEY)) -> Version:
    """Register the tower as the newest version."""
    folder.mkdir(parents=True)
    save_tower(tower, folder)
    tags = {"encoder_key": encoder_key, "features": "f", "training": "t"}
    with tracked(storage, folder.name, {}, {"splits": SPLITS}):
        return registry.register(folder, tags, {})


def site_at(storage: Storage, tracking: str, milvus: str, **release: object) -> Site:
    """Return the tests' site in another process: `tracking` and `milvus` are addresses."""
    os.environ["MLFLOW_TRACKING_URI"] = tracking
    use_tracking(storage)
    index = IndexConfig(uri=milvus)
    config = ReleaseConfig(neighbours=8, overlay_rows=10, gates=GatesConfig(baselines="off")).model_copy(update=release)
    return Site(storage, connect(index, None), index, config, EVALUATION, words)


def point_champion(version: int | None) -> None:
    """Set or delete the champion alias, as a user does in MLflow's UI."""
    client = mlflow.MlflowClient()
    if version is None:
        client.delete_registered_model_alias(registry.MODEL, registry.CHAMPION)
    else:
        client.set_registered_model_alias(registry.MODEL, registry.CHAMPION, str(version))


def _tower(modalities: tuple[Modality, ...]) -> VideoTower:
    torch.manual_seed(0)
    # As much of each modality as it says about these videos.
    tower = VideoTower(TowerConfig(dim=DIM, modalities=modalities, gate_prior=(0.45, 0.35, 0.2)), DIMS)
    tower.fit_inputs({m: ragged.values.copy() for m, ragged in FeatureMatrix.from_table(VIDEOS).vectors.items()})
    return tower.eval()
