"""Synthetic videos: a feature store as large as a measurement needs, and a whole release, without decoding any."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from rayreel.encoders.encoder import Modality
from rayreel.encoders.load import load_encoders
from rayreel.features.key import EncoderKey
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore
from rayreel.media.config import SamplingConfig
from rayreel.release import registry
from rayreel.release.build import build
from rayreel.release.journal import Switch
from rayreel.release.process import who
from rayreel.release.promote import is_current
from rayreel.release.registry import Version
from rayreel.release.site import Candidate
from rayreel.release.switch import standing, switch
from rayreel.settings import Settings
from rayreel.storage import Storage
from rayreel.tower.save import save_tower
from rayreel.tower.tower import VideoTower
from rayreel.training.tracking import tracked, use_tracking

LAPTOP_COUNTS = {Modality.VISUAL: 8, Modality.AUDIO: 4, Modality.TEXT: 1}
LAPTOP_KEY = EncoderKey(
    identities={modality: f"synthetic_{modality.value}@random" for modality in Modality},
    dims={Modality.VISUAL: 1280, Modality.AUDIO: 192, Modality.TEXT: 384},
    frame_size=1,
    sampling=SamplingConfig(),
)
_CATEGORIES, _BLOCK = 50, 4096


def write_rows(
    root: str, rows: int, key: EncoderKey = LAPTOP_KEY, counts: Mapping[Modality, int] = LAPTOP_COUNTS
) -> FeatureStore:
    """Write a store of `rows` videos below `root`, in blocks; the features of a video lie around its category's centre.

    `counts` is the number of vectors of a video, by modality. Without `key`, the rows claim encoders that do not exist,
    as wide as those of preset `laptop`.
    """
    store = FeatureStore(Storage(root), key)
    store.create()
    store.set_catalog([(f"v{number:08}", "1") for number in range(rows)])
    for start in range(0, rows, _BLOCK):
        store.add(_block(store, range(start, min(start + _BLOCK, rows)), counts), QUARANTINE.empty_table())
    return store


def make_release(settings: Settings, videos: int) -> Version:
    """Return the champion over `videos` synthetic videos; build it unless the storage root has one. Needs a Ray.

    The rows carry the key of the configured encoders, so that a service can encode queries for the release. No gates.
    """
    use_tracking(settings.place)
    site = settings.site()
    champion = site.champion()
    if champion is not None and is_current(champion, site):
        return champion
    encoders = load_encoders(settings.encoders, settings.weights_cache)
    key = EncoderKey.of(encoders, settings.sampling)
    version = register_tower(settings, write_rows(settings.storage, videos, key, dict.fromkeys(Modality, 1)), seed=0)
    candidate = Candidate(version, site)
    build(candidate, lambda _stage, _done: None, candidate.compare())
    against = standing(site)
    switch(site, Switch("promoted", version.number, against.serving, against.champion, who()), against)
    return version


def register_tower(settings: Settings, store: FeatureStore, seed: int) -> Version:
    """Register an untrained tower of the configured shape; another seed gives another tower."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tower = VideoTower(settings.tower, dict(store.key.dims))
    rng = np.random.default_rng(seed)
    tower.fit_inputs({m: rng.standard_normal((256, dim)).astype(np.float16) for m, dim in store.key.dims.items()})
    name, config = f"untrained-{seed}", settings.model_dump(mode="json")  # the gates read the splits from it
    tags = {"encoder_key": str(store.key), "features": store.fingerprint(), "training": name}
    with tracked(settings.place, name, {"seed": seed}, config), tempfile.TemporaryDirectory() as folder:
        save_tower(tower.eval(), Path(folder))
        return registry.register(Path(folder), tags, {"videos": store.read(["video_id"]).num_rows})


def _block(store: FeatureStore, numbers: range, counts: Mapping[Modality, int]) -> pa.Table:
    category_R, dims = np.arange(numbers.start, numbers.stop) % _CATEGORIES, store.key.dims
    same = {"description": "", "tags": [], "extra": "{}", "version": "1", "encoder_key": str(store.key)}
    columns = {name: [value] * len(numbers) for name, value in same.items()} | {
        "video_id": [f"v{number:08}" for number in numbers],
        "uri": [f"/videos/v{number:08}.mp4" for number in numbers],
        "title": [f"video {number}" for number in numbers],
        "category": [f"category {category}" for category in category_R],
        "content_hash": [f"{number:064x}" for number in numbers],
        **{m.value: _vectors(m, category_R, numbers.start, counts[m], dims[m]) for m in Modality},
    }
    return pa.table([columns.get(field.name, [None] * len(numbers)) for field in store.schema], schema=store.schema)


def _vectors(modality: Modality, category_R: NDArray[np.int64], seed: int, count: int, dim: int) -> pa.ListArray:
    """Return each row's category centre plus noise, [rows, count, dim] as lists of fixed-size lists."""
    stream = list(Modality).index(modality)
    centre_CD = np.random.default_rng(stream).standard_normal((_CATEGORIES, dim), dtype=np.float32)
    x_RND = np.random.default_rng([seed, stream]).standard_normal((len(category_R), count, dim), dtype=np.float32)
    x_RND += centre_CD[category_R][:, None]
    inner = pa.FixedSizeListArray.from_arrays(pa.array(x_RND.astype(np.float16).ravel()), dim)
    return pa.ListArray.from_arrays(pa.array(np.arange(len(category_R) + 1, dtype=np.int32) * count), inner)
