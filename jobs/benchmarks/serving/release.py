"""A whole release of made-up videos, without decoding any: store, tower, rows, snapshot, collection, alias."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from benchmarks.synthetic import Shape, write_rows
from rayreel.encoders.encoder import Modality
from rayreel.encoders.load import load_encoders
from rayreel.features.key import EncoderKey
from rayreel.features.store import FeatureStore
from rayreel.index.alias import alias_target, switch_alias
from rayreel.index.collection import collection_name
from rayreel.index.connect import MilvusClient, connect
from rayreel.index.write import make_searchable
from rayreel.release import audit, journal, registry
from rayreel.release.embed import embed_table
from rayreel.release.fill import fill
from rayreel.release.journal import Switch
from rayreel.release.process import who
from rayreel.release.registry import Version
from rayreel.release.rows import ReleaseRows
from rayreel.release.snapshot import snapshot_pointer, write_snapshot
from rayreel.settings import Settings
from rayreel.tower.save import save_tower
from rayreel.tower.tower import VideoTower
from rayreel.training.tracking import tracked, use_tracking

_BLOCK = 4096
_VECTORS = {Modality.VISUAL: 1, Modality.AUDIO: 1, Modality.TEXT: 1}


def make_release(settings: Settings, videos: int) -> Version:
    """The champion over so many made-up videos below the storage root, made now if it is not there. Needs a Ray.

    The rows carry the configured encoders' key, so that a service encodes queries for the release as it would for any.
    """
    use_tracking(settings.place)
    client = connect(settings.index, settings.milvus_dir)
    champion = registry.find(registry.CHAMPION)
    if champion is not None and _serves(settings, client, champion, videos):
        return champion
    store = write_videos(settings, videos)
    version = register_tower(settings, store, seed=0)
    serve(settings, client, store, version)
    return version


def write_videos(settings: Settings, videos: int) -> FeatureStore:
    """Feature rows as the configured encoders would have made them, one vector of each modality per video."""
    encoders = load_encoders(settings.encoders, settings.weights_cache)
    key = EncoderKey.of(encoders, settings.sampling)
    return write_rows(settings.storage, videos, Shape(_VECTORS, encoders.dims), key)


def register_tower(settings: Settings, store: FeatureStore, seed: int) -> Version:
    """An untrained tower of the configured shape in the registry; another seed, another tower."""
    tower = _tower(settings, store, seed)
    name, config = f"untrained-{seed}", settings.model_dump(mode="json")  # gates read from it how videos are split
    tags = {"encoder_key": str(store.key), "features": store.fingerprint(), "training": name}
    with tracked(settings.place, name, {"seed": seed}, config), tempfile.TemporaryDirectory() as folder:
        save_tower(tower, Path(folder))
        return registry.register(Path(folder), tags, {"videos": store.read(["video_id"]).num_rows})


def serve(settings: Settings, client: MilvusClient, store: FeatureStore, version: Version) -> None:
    """Embed the store's rows, fill the index, take a snapshot and switch to the version. No gates."""
    rows, collection = ReleaseRows(settings.place, version.number), collection_name(version.number)
    tower, features = registry.load(version), store.read()
    for start in range(0, features.num_rows, _BLOCK):
        rows.add(embed_table(tower, features.slice(start, _BLOCK)))
    fill(client, rows, collection, settings.index)
    make_searchable(client, collection, settings.index)
    write_snapshot(settings.place, rows, settings.release.neighbours)
    switch_alias(client, settings.index.alias, collection)
    made = Switch("promoted", version.number, None, registry.pointed_at(registry.CHAMPION), who(), at=_now())
    audit.record(made)
    registry.crown(version.number)
    journal.end(settings.place, made)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _serves(settings: Settings, client: MilvusClient, champion: Version, videos: int) -> bool:
    pointer = snapshot_pointer(settings.place, champion.number)
    serving = alias_target(client, settings.index.alias) == collection_name(champion.number)
    return serving and pointer is not None and pointer["videos"] == videos


def _tower(settings: Settings, store: FeatureStore, seed: int) -> VideoTower:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tower = VideoTower(settings.tower, dict(store.key.dims))
    rng = np.random.default_rng(seed)
    tower.fit_inputs({m: rng.standard_normal((256, dim)).astype(np.float16) for m, dim in store.key.dims.items()})
    return tower.eval()
