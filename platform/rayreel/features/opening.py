"""Open the feature store of a set of encoders, or create it."""

from pathlib import Path

from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.load import encoder_identities, load_encoders
from rayreel.features.key import EncoderKey, key_name
from rayreel.features.store import FeatureStore, NoFeatures, open_store
from rayreel.media.config import SamplingConfig
from rayreel.storage import Storage


def open_or_make(storage: Storage, encoders: EncodersConfig, sampling: SamplingConfig, cache: Path) -> FeatureStore:
    """Open the store for these encoders and this sampling, or create it.

    Creating it loads the encoders on the CPU, because their output widths are part of the key. `cache` has their
    weights.
    """
    try:
        return open_store(storage, key_name(encoder_identities(encoders, cache), sampling))
    except NoFeatures:
        precision = "auto" if encoders.precision == "fp16" else encoders.precision  # the same identity
        on_cpu = encoders.model_copy(update={"device": "cpu", "precision": precision})
        return FeatureStore(storage, EncoderKey.of(load_encoders(on_cpu, cache), sampling))
