"""Storage roots with features and registered towers, and a real Milvus Lite for releases."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from rayreel.index.alias import collections, drop_collection
from rayreel.index.config import IndexConfig
from rayreel.index.connect import MilvusClient, connect
from rayreel.index.embedded import stop_embedded
from rayreel.release.config import GatesConfig, ReleaseConfig
from rayreel.release.site import Site
from rayreel.storage import Storage
from rayreel.training.tracking import use_tracking
from release_site import EVALUATION, good_tower, register, store_of, weak_tower, words

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
    storage = Storage(folder / "storage")
    store_of(storage)
    for name, tower in (("first", weak_tower()), ("second", good_tower()), ("third", weak_tower())):
        register(storage, tower, folder / name)
    return folder / "storage"


@pytest.fixture
def storage(towers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """A copy of the storage root with towers, for one test."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.setenv(name, "")  # an earlier test may have set it; patching it restores it
        monkeypatch.delenv(name)
    shutil.copytree(towers, tmp_path / "storage")
    storage = Storage(tmp_path / "storage")
    use_tracking(storage)
    return storage


@pytest.fixture(scope="session")
def milvus(
    no_outside_services: None, ray_cluster: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MilvusClient]:
    folder = tmp_path_factory.mktemp("milvus")
    yield connect(IndexConfig(), folder)
    stop_embedded(folder)


@pytest.fixture
def site(storage: Storage, milvus: MilvusClient) -> Site:
    """A site without a promoted version. Gates on baselines are off, so that weak towers can be promoted."""
    for alias in milvus.list_aliases()["aliases"]:
        milvus.drop_alias(alias)
    for _, name in collections(milvus):
        drop_collection(milvus, name)
    config = ReleaseConfig(neighbours=8, overlay_rows=10, gates=GatesConfig(baselines="off"))
    return Site(storage, milvus, IndexConfig(), config, EVALUATION, words)
