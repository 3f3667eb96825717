"""Films to extract, and clusters of several Ray nodes on this machine."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from cluster_pools import CPU_POOL, GPU_POOL
from films import write_film
from ray_here import own_cluster, short_folder
from rayreel.catalog.read import Catalog, read_catalog

FILMS = 10
COPIES = 30


@pytest.fixture
def ray_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with short_folder() as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield folder


@pytest.fixture
def cluster(ray_folder: str) -> Iterator[Cluster]:
    with own_cluster() as cluster:
        yield cluster


@pytest.fixture
def cpu_node(cluster: Cluster) -> Callable[[], Any]:
    """A function that adds a node with two CPUs."""
    return lambda: cluster.add_node(num_cpus=2, labels=CPU_POOL)


@pytest.fixture
def gpu_node(cluster: Cluster) -> Callable[..., Any]:
    """A function that adds a node with four CPUs, which decoding could use, and pretended GPUs."""
    return lambda gpus: cluster.add_node(num_cpus=4, num_gpus=gpus, labels=GPU_POOL)


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for number in range(FILMS):
        write_film(folder / f"film{number}.mp4", frames=40 + number, tone_hz=None)
    return folder


@pytest.fixture(scope="session")
def catalog(films: Path) -> Catalog:
    """300 ids of ten films."""
    rows = read_catalog(films).videos
    many = [video.model_copy(update={"video_id": f"{video.video_id}-{n}"}) for n in range(COPIES) for video in rows]
    return Catalog("many", many)
