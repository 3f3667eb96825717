"""MovieLens without videos: a feature store of what a text encoder makes of titles and genres."""

import hashlib
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.variants import Given, train_variants
from rayreel.catalog.interactions import read_interactions
from rayreel.catalog.recbole import items_table
from rayreel.catalog.video import CatalogVideo
from rayreel.cli.output import step
from rayreel.encoders.encoder import Modality
from rayreel.encoders.load import load_encoders
from rayreel.evaluation.evaluate import Evaluation, evaluate
from rayreel.evaluation.exam import Protocol
from rayreel.features.key import EncoderKey
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.schema import QUARANTINE, catalog_columns, feature_schema
from rayreel.features.store import FeatureStore
from rayreel.settings import Settings
from rayreel.storage import Storage

FOUND = (
    "train.workers=1",
    "train.epochs=300",
    "train.batch_size=256",
    "train.learning_rate=0.002",
    "train.select=users",
    "loss.temperature=0.1",
    "loss.log_q=true",
    "tower.dim=256",
    "tower.fusion=concat",
    "tower.dropout=0.1",
    "pairs.co_watch_reach=5",
)
"""Settings that did well on MovieLens-100k's validation views; the test had no say."""

TOWERS = {
    "tower, two views": ("pairs.views=1", "pairs.co_watched=0", "train.epochs=50"),
    "tower, co-watched, videos": ("pairs.views=0", "pairs.co_watched=1", "pairs.anchors=videos"),
    "tower, co-watched, watches": ("pairs.views=0", "pairs.co_watched=1", "pairs.anchors=watches"),
    "tower, mixture, watches": ("pairs.views=0.3", "pairs.co_watched=1", "pairs.anchors=watches"),
}


def measure_items(interactions: str, items: str, given: Given) -> Evaluation:
    """Train towers on the text of items and who rated them; the tables of the user protocol."""
    variants = {name: given.over([*FOUND, *own]) for name, own in TOWERS.items()}
    settings = next(iter(variants.values()))
    views = read_interactions(interactions)
    step("Encoding titles and genres")
    store = store_items(items_table(items), settings, Storage(settings.place.uri("benchmarks", "movielens")))
    best, *others = train_variants(variants, store, views).items()
    step(f"Evaluating; `tower` is the best on validation, {best[0]}")
    result = evaluate(
        best[1].tower,
        FeatureMatrix.from_table(store.read()),
        settings.splits,
        settings.evaluation.model_copy(update={"relevance": ()}),
        views,
        rivals={name: variant.tower for name, variant in others},
    )
    asked = {name: section for name, section in result.sections.items() if name.startswith(Protocol.USERS)}
    return replace(result, sections=asked)


def store_items(items: pa.Table, settings: Settings, storage: Storage) -> FeatureStore:
    """Encode the text of items (the columns of catalog.recbole.ITEMS) and make them the catalog below a storage root.

    The key is that of the configured encoders, so that every other job finds the store; pictures and sound are absent.
    """
    encoders = load_encoders(settings.encoders, settings.weights_cache)
    key = EncoderKey.of(encoders, settings.sampling)
    videos = [CatalogVideo(uri=f"item/{row['video_id']}", **row) for row in items.to_pylist()]
    store = FeatureStore(storage, key)
    store.create()
    store.set_catalog([(video.video_id, video.fingerprint()) for video in videos])
    known = store.done()
    todo = [video for video in videos if (video.video_id, video.fingerprint()) not in known]
    vectors = encoders.text.encode([_text(video) for video in todo])
    store.add(_rows(todo, vectors.astype(np.float16), key), QUARANTINE.empty_table())
    return store


def _rows(videos: list[CatalogVideo], vectors_ND: NDArray[np.float16], key: EncoderKey) -> pa.Table:
    rows = [
        catalog_columns(video)
        | {
            "version": video.fingerprint(),
            # Two items of one text are one work: they must not be told apart, nor stand on two sides of a split.
            "content_hash": hashlib.sha256(_text(video).encode()).hexdigest(),
            "has_audio": False,
            Modality.TEXT.value: [vector],
            "encoder_key": str(key),
        }
        for video, vector in zip(videos, vectors_ND, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=feature_schema(key.dims))


def _text(video: CatalogVideo) -> str:
    return video.text() or "-"
