"""Where words lie in the spaces that pictures or sounds have in common with them."""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.encoder import Modality
from rayreel.encoders.load import load_text_sides
from rayreel.evaluation.config import SplitConfig
from rayreel.evaluation.splits import groups_of, named_test, split_named
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.store import FeatureStore

log = logging.getLogger(__name__)

# The mean of this many titles is accurate to a few hundredths of their spread.
_TITLES = 1000


def mean_words(
    store: FeatureStore, config: EncodersConfig, cache_dir: Path, splits: SplitConfig
) -> dict[Modality, NDArray[np.float32]]:
    """Return the mean vector [D] of the training videos' titles, as queries, for each modality with a text side.

    Empty for encoders without one, and without titles.
    """
    sides = load_text_sides(config, cache_dir)
    titles = _training_titles(store, splits) if sides else []
    if not titles:
        if sides:
            log.warning("words are not moved to where %s lies: no training video has a title", " and ".join(sides))
        return {}
    chosen = np.random.default_rng(0).permutation(len(titles))[:_TITLES]
    sample = [titles[place] for place in chosen]
    return {modality: side.encode(sample, query=True).mean(axis=0) for modality, side in sides.items()}


def _training_titles(store: FeatureStore, splits: SplitConfig) -> list[str]:
    columns = [name for name in store.schema.names if name not in set(Modality)]
    videos = FeatureMatrix({}, store.read(columns))
    train = split_named(groups_of(videos, splits), named_test(videos), splits).train
    return sorted({title for title in videos.rows["title"].take(train).to_pylist() if title})
