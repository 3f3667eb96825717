"""Storage roots with features and registered towers, and a real Milvus Lite for releases."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest

from rayreel.index.alias import collections, drop_collection, switch_alias
from rayreel.index.collection import collection_name
from rayreel.index.config import IndexConfig
from rayreel.index.connect import MilvusClient, connect
from rayreel.index.embedded import stop_embedded
from rayreel.index.write import make_searchable
from rayreel.release import registry
from rayreel.release.config import GatesConfig, ReleaseConfig
from rayreel.release.fill import fill
from rayreel.release.promote import promote
from rayreel.release.rows import ReleaseRows
from rayreel.release.site import Site
from rayreel.storage import Storage
from rayreel.training.tracking import use_tracking
from release_site import EVALUATION, good_tower, register, store_of, weak_tower, words
from tracking_database import with_database

CLOUD = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MILVUS_URI", "MILVUS_TOKEN")


@pytest.fixture(scope="session")
def no_outside_services() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in CLOUD:
            patch.setenv(name, "")  # MLflow may set it; patching it restores it
            patch.delenv(name)
        yield
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)


@pytest.fixture(scope="session")
def towers(no_outside_services: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage root with features and three towers: 1 and 3 are weak, 2 is good."""
    folder = tmp_path_factory.mktemp("towers")
    storage = with_database(folder / "storage")
    store_of(storage)
    for name, tower in (("first", weak_tower()), ("second", good_tower()), ("third", weak_tower())):
        register(storage, tower, folder / name)
    return folder / "storage"


def copied(root: Path, to: Path, patch: pytest.MonkeyPatch) -> Storage:
    """Return a copy of a storage root, which MLflow uses."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        patch.setenv(name, "")  # an earlier test may have set it; patching it restores it
        patch.delenv(name)
    shutil.copytree(root, to)
    use_tracking(Storage(to))
    return Storage(to)


@pytest.fixture
def storage(towers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """A copy of the storage root with towers, for one test."""
    return copied(towers, tmp_path / "storage", monkeypatch)


@pytest.fixture(scope="session")
def milvus(
    no_outside_services: None, ray_cluster: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MilvusClient]:
    folder = tmp_path_factory.mktemp("milvus")
    yield connect(IndexConfig(), folder)
    stop_embedded(folder)


def emptied_site(storage: Storage, milvus: MilvusClient) -> Site:
    """Drop all releases. Gates on baselines are off, so that weak towers can be promoted."""
    for alias in milvus.list_aliases()["aliases"]:
        milvus.drop_alias(alias)
    for _, name in collections(milvus):
        drop_collection(milvus, name)
    config = ReleaseConfig(neighbours=8, overlay_rows=10, gates=GatesConfig(baselines="off"))
    return Site(storage, milvus, IndexConfig(), config, EVALUATION, words)


@pytest.fixture
def site(storage: Storage, milvus: MilvusClient) -> Site:
    """A site without a promoted version."""
    return emptied_site(storage, milvus)


@pytest.fixture(scope="session")
def promoted(towers: Path, milvus: MilvusClient, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Storage roots after the promotion of version 1, and then of version 2."""
    folder = tmp_path_factory.mktemp("promoted")
    roots = {0: towers, 1: folder / "one", 2: folder / "two"}
    with pytest.MonkeyPatch.context() as patch:
        site = emptied_site(Storage(towers), milvus)
        for version in (1, 2):
            storage = copied(roots[version - 1], roots[version], patch)
            promote(registry.resolve(str(version)), replace(site, storage=storage))
    return roots


def restored(storage: Storage, milvus: MilvusClient, *versions: int) -> Site:
    """Fill the collections of a copied root's releases; the last one serves."""
    site = emptied_site(storage, milvus)
    for version in versions:
        fill(milvus, ReleaseRows(storage, version), collection_name(version), site.index)
        make_searchable(milvus, collection_name(version), site.index)
    switch_alias(milvus, site.index.alias, collection_name(versions[-1]))
    return site


@pytest.fixture
def one(promoted: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, milvus: MilvusClient) -> Site:
    """Version 1 serves."""
    return restored(copied(promoted[1], tmp_path / "storage", monkeypatch), milvus, 1)


@pytest.fixture
def two(promoted: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, milvus: MilvusClient) -> Site:
    """Version 1 has served, version 2 serves."""
    return restored(copied(promoted[2], tmp_path / "storage", monkeypatch), milvus, 1, 2)
