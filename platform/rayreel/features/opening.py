"""The feature store of given encoders, which the first extraction makes."""

from pathlib import Path

from rayreel.encoders.load import encoder_identities, load_encoders
from rayreel.encoders.presets import EncodersConfig
from rayreel.features.key import EncoderKey, key_name
from rayreel.features.store import FeatureStore, NoFeatures, open_store
from rayreel.media.config import SamplingConfig
from rayreel.storage import Storage


def open_or_make(storage: Storage, encoders: EncodersConfig, sampling: SamplingConfig, cache: Path) -> FeatureStore:
    """The store of these encoders and this sampling; the first time, the encoders are loaded to learn their widths.

    `cache` holds the encoders' weights.
    """
    try:
        return open_store(storage, key_name(encoder_identities(encoders, cache), sampling))
    except NoFeatures:
        return FeatureStore(storage, EncoderKey.of(load_encoders(encoders, cache), sampling))
