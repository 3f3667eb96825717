"""A real Milvus Lite, owned by a real actor."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray
from pymilvus import MilvusClient

from rayreel.index.build import IndexRow
from rayreel.index.config import IndexConfig
from rayreel.index.connect import connect
from rayreel.index.embedded import stop_embedded

DIM = 32


@pytest.fixture(scope="session", autouse=True)
def _no_milvus_from_outside() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MILVUS_URI", raising=False)
        patch.delenv("MILVUS_TOKEN", raising=False)
        yield


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    if ray.is_initialized():
        yield
        return
    ray.init(num_cpus=2, include_dashboard=False, configure_logging=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def config() -> IndexConfig:
    return IndexConfig(dim=DIM, batch_rows=100)


@pytest.fixture(scope="module")
def data_dir(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("milvus")
    yield path
    stop_embedded(path)


@pytest.fixture(scope="module")
def client(data_dir: Path, config: IndexConfig) -> MilvusClient:
    return connect(config, data_dir)


@pytest.fixture(scope="session")
def rows() -> list[IndexRow]:
    """300 videos around 6 centres: neighbourhoods as dense as real ones, not the empty space of pure noise."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(6, DIM))
    points = centres[np.arange(300) % 6] + 0.6 * rng.normal(size=(300, DIM))
    unit = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    return [IndexRow(f"v{n}", unit[n], title=f"video {n}", category=f"c{n % 6}") for n in range(300)]
