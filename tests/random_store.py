"""A feature store of the default encoders with random weights, filled with random vectors: no video is decoded."""

import json

import numpy as np
import pyarrow as pa

from feature_rows import feature_row
from promoted import RANDOM
from rayreel.encoders.encoder import Modality
from rayreel.encoders.load import load_encoders
from rayreel.features.key import EncoderKey
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore
from rayreel.settings import load_settings

SETS = [f"{name}={json.dumps(value)}" for name, value in RANDOM.items()]
VIDEOS = 30


def random_store(root: str, categories: int = 3) -> FeatureStore:
    """Return a store of thirty videos in these categories, with two frames each and sound in every second one."""
    settings = load_settings(sets=SETS, storage=root)
    key = EncoderKey.of(load_encoders(settings.encoders, settings.weights_cache), settings.sampling)
    store, rng = FeatureStore(settings.place, key), np.random.default_rng(0)
    rows = []
    for n in range(VIDEOS):
        vectors = {m.value: list(rng.normal(size=(2, key.dims[m])).astype(np.float16)) for m in Modality}
        row = (
            feature_row(f"v{n:02}", category=f"c{n % categories}" if categories else "", encoder_key=str(key)) | vectors
        )
        rows.append(row if n % 2 else row | {"audio": None})
    store.create()
    store.add(pa.Table.from_pylist(rows, schema=store.schema), QUARANTINE.empty_table())
    store.set_catalog([(row["video_id"], "1") for row in rows])
    return store
