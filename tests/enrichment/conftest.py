from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from feature_rows import KEY, feature_row, feature_table
from language_model import LanguageModel, language_model
from rayreel.enrichment.config import EnrichConfig
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore
from rayreel.storage import Storage


@pytest.fixture
def endpoint() -> Iterator[LanguageModel]:
    with language_model() as server:
        yield server


@pytest.fixture
def configured(endpoint: LanguageModel) -> Callable[..., EnrichConfig]:
    """Settings for the endpoint; keywords change them."""

    def configure(**changes: object) -> EnrichConfig:
        return EnrichConfig.model_validate({"url": endpoint.url, "model": "m", "retries": 2, **changes})

    return configure


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """Four current videos, a to d. Something is said in a."""
    store = FeatureStore(Storage(tmp_path), KEY)
    store.create()
    rows = [feature_row("a", transcript="Look, a whale!", speech="tiny"), *(feature_row(name) for name in "bcd")]
    store.add(feature_table(*rows), QUARANTINE.empty_table())
    store.set_catalog([(name, "1") for name in "abcd"])
    return store
