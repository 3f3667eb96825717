import pytest
from pymilvus import MilvusClient

from index_filling import FIRST, Fill
from rayreel.index.alias import IndexInUse, ReleaseCollection, alias_target, collections, drop_collection, switch_alias
from rayreel.index.config import IndexConfig
from rayreel.index.search import VideoIndex
from rayreel.index.write import IndexRow


def test_the_alias_moves_and_the_serving_collection_is_never_dropped(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow], fill: Fill
) -> None:
    old, new = fill(6, rows), fill(7, rows[:10])
    assert alias_target(client, config.alias) is None
    switch_alias(client, config.alias, old)
    with pytest.raises(IndexInUse, match=config.alias):
        drop_collection(client, old)
    switch_alias(client, config.alias, new)
    assert alias_target(client, config.alias) == new
    drop_collection(client, old)
    assert VideoIndex(client, config).count() == 10


def test_only_releases_are_listed_ordered_by_version(client: MilvusClient, rows: list[IndexRow], fill: Fill) -> None:
    names = [fill(version, rows[:2]) for version in (100, 8, 9)]
    client.create_collection("other", dimension=4)
    try:
        found = [one for one in collections(client) if one.name in [*names, "other"]]
    finally:
        client.drop_collection("other")
    assert found == [ReleaseCollection(FIRST + version, f"videos_v{FIRST + version}") for version in (8, 9, 100)]


def test_dropping_a_missing_collection_does_nothing(client: MilvusClient) -> None:
    drop_collection(client, f"videos_v{FIRST + 99}")
