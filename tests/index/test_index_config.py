from typing import Any

import numpy as np
from pydantic import SecretStr

from rayreel.index.config import IndexConfig, resolve
from rayreel.index.filters import parse_filter
from rayreel.index.search import VideoIndex

ENVIRONMENT = {"MILVUS_URI": "http://milvus:19530", "MILVUS_TOKEN": "root:secret"}


def test_an_empty_address_is_filled_from_the_environment() -> None:
    resolved = resolve(IndexConfig(), ENVIRONMENT)
    assert (resolved.uri, resolved.token.get_secret_value()) == ("http://milvus:19530", "root:secret")


def test_a_configured_address_overrides_the_environment() -> None:
    config = IndexConfig(uri="http://mine:1", token=SecretStr("mine"))
    assert resolve(config, ENVIRONMENT) == config


def test_without_environment_the_address_stays_empty_for_milvus_lite() -> None:
    assert resolve(IndexConfig(), {}).uri == ""


def test_the_printed_configuration_does_not_contain_the_token() -> None:
    assert "secret" not in repr(resolve(IndexConfig(), ENVIRONMENT))


class RecordedSearches:
    """Milvus' client for a collection without rows; records the candidates of each search."""

    def __init__(self) -> None:
        self.candidates: list[int] = []

    def search(self, *_: object, search_params: dict[str, dict[str, int]], **__: object) -> list[list[Any]]:
        self.candidates.append(search_params["params"]["ef"])
        return [[]]

    def query(self, *_: object, **__: object) -> list[Any]:
        return []


def test_a_search_with_a_filter_keeps_more_candidates() -> None:
    client: Any = RecordedSearches()
    index = VideoIndex(client, IndexConfig(ef_search=50, filtered_ef=3), "videos_v1")
    for condition in (None, parse_filter({"category": "sea"})):
        index.search(np.ones(8, np.float32), 10, filter=condition)
    assert client.candidates == [50, 150]
