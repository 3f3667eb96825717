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


def random_store(root: str, categories: int = 3, videos: int = VIDEOS, kinds: int = 0) -> FeatureStore:
    """Return a store of videos in these categories, with two frames each and sound in every second one.

    With `kinds`, the vectors of video n lie around a centre of its kind, n % kinds.
    """
    settings = load_settings(sets=SETS, storage=root)
    key = EncoderKey.of(load_encoders(settings.encoders, settings.weights_cache), settings.sampling)
    store, rng = FeatureStore(settings.place, key), np.random.default_rng(0)
    rows = []
    centres = {m: 3 * rng.normal(size=(max(1, kinds), key.dims[m])) if kinds else np.zeros((1, 1)) for m in Modality}
    for n in range(videos):
        centre = {m: centres[m][n % max(1, kinds)] for m in Modality}
        vectors = {m.value: list((centre[m] + rng.normal(size=(2, key.dims[m]))).astype(np.float16)) for m in Modality}
        category, digest = f"c{n % categories}" if categories else "", f"{n:064x}"
        row = feature_row(f"v{n:02}", category=category, encoder_key=str(key), content_hash=digest) | vectors
        rows.append(row if n % 2 else row | {"audio": None})
    store.create()
    store.add(pa.Table.from_pylist(rows, schema=store.schema), QUARANTINE.empty_table())
    store.set_catalog([(row["video_id"], "1") for row in rows])
    return store
