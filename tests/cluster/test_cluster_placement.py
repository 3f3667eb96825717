"""Placement: CPU work stays off GPU nodes and GPU work gets them, on a cluster with pretended GPUs."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.util.state import list_actors, list_tasks

from cluster_pools import CPU_POOL, GPU_POOL
from feature_rows import KEY, clusters_table
from rayreel.catalog.read import Catalog
from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.load import load_encoders
from rayreel.evaluation.config import SplitConfig
from rayreel.features.config import ExtractConfig
from rayreel.features.extract import ExtractReport, extract
from rayreel.features.key import EncoderKey
from rayreel.features.pipeline import Pipeline
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore
from rayreel.media.config import Limits, SamplingConfig
from rayreel.storage import Storage
from rayreel.tower.config import TowerConfig
from rayreel.training.config import TrainConfig
from rayreel.training.job import TrainJob
from rayreel.training.train import train
from run import WEIGHTS

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

# The GPUs are only declared to Ray; networks run on CPUs.
ENCODERS = EncodersConfig(cache_dir=WEIGHTS, device="cpu", threads=1)
PLACED = ExtractConfig(videos_per_block=8, decode_on=CPU_POOL, encode_on=GPU_POOL)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    key = EncoderKey.of(load_encoders(ENCODERS, WEIGHTS), SamplingConfig())
    return FeatureStore(Storage(tmp_path / "storage"), key)


def address() -> str:
    """Named, as Ray would ask any cluster of this machine."""
    found: str = ray.get_runtime_context().gcs_address
    return found


def ran_on(work: str) -> Counter[str]:
    """Return the number of tasks with this name by node, without tasks of actors."""
    found = list_tasks(address(), detail=True, limit=10_000, filters=[("type", "=", "NORMAL_TASK")])
    return Counter(task.node_id for task in found if work in task.name and task.node_id)


def lived_on(kind: str) -> Counter[str]:
    """Return the number of actors of this class by node."""
    found = list_actors(address(), detail=True, limit=10_000)
    return Counter(actor.node_id for actor in found if kind in actor.class_name and actor.node_id)


def test_decoding_stays_on_cpu_nodes_and_encoders_on_gpu_nodes(
    catalog: Catalog, store: FeatureStore, cpu_node: Callable[[], Any], gpu_node: Callable[..., Any]
) -> None:
    decoding, encoding = {cpu_node().node_id, cpu_node().node_id}, {gpu_node(1).node_id, gpu_node(1).node_id}
    report = extract(catalog, store, Pipeline(ENCODERS, Limits(), PLACED, WEIGHTS))
    assert report.extracted == len(catalog)
    assert set(ran_on("DecodeVideos")) == decoding
    assert ran_on("StoreRows") and set(ran_on("")) == decoding, "some other task ran elsewhere"
    assert set(lived_on("EncodeVideos")) == encoding


def test_a_lost_node_of_each_kind_costs_only_time(
    catalog: Catalog,
    store: FeatureStore,
    cluster: Cluster,
    cpu_node: Callable[[], Any],
    gpu_node: Callable[..., Any],
) -> None:
    lost = [(cpu_node(), gpu_node(1)), (cpu_node(), gpu_node(1))][0]
    done: list[ExtractReport] = []
    pipeline = Pipeline(ENCODERS, Limits(), PLACED, WEIGHTS)
    work = threading.Thread(target=lambda: done.append(extract(catalog, store, pipeline)))
    work.start()
    for files, node in zip((2, 8), lost, strict=True):
        while len(store.storage.files(store.features, ".parquet")) < files:
            assert work.is_alive()
            time.sleep(0.1)
        cluster.remove_node(node, allow_graceful=False)
    assert work.is_alive(), "it was over before the nodes were lost"
    work.join()
    assert done and done[0].extracted == len(catalog)
    assert store.read(["video_id"])["video_id"].to_pylist() == sorted(video.video_id for video in catalog.videos)


def test_training_gets_four_gpus_of_two_nodes(
    tmp_path: Path, cpu_node: Callable[[], Any], gpu_node: Callable[..., Any]
) -> None:
    cpu_node()
    nodes = {gpu_node(2).node_id, gpu_node(2).node_id}
    config = TrainConfig(epochs=1, batch_size=16, workers=4, use_gpu=True, device="cpu", on=GPU_POOL)
    train(job(tmp_path, config), "four")
    assert lived_on("RayTrainWorker") == dict.fromkeys(nodes, 2)


def test_training_on_cpus_stays_off_gpu_nodes(
    tmp_path: Path, cpu_node: Callable[[], Any], gpu_node: Callable[..., Any]
) -> None:
    gpu_node(2)
    nodes = {cpu_node().node_id, cpu_node().node_id}
    config = TrainConfig(epochs=1, batch_size=16, workers=2, cpus_per_worker=2, use_gpu=False, on=CPU_POOL)
    train(job(tmp_path, config), "two")
    assert lived_on("RayTrainWorker") == dict.fromkeys(nodes, 1)


def job(folder: Path, config: TrainConfig) -> TrainJob:
    """Write features of 120 videos in four categories."""
    store = FeatureStore(Storage(folder / "storage"), KEY)
    store.create()
    table = clusters_table(categories=4, each=30)
    store.add(table, QUARANTINE.empty_table())
    store.set_catalog(list(zip(table["video_id"].to_pylist(), table["version"].to_pylist(), strict=True)))
    tower, splits = TowerConfig(dim=16, gate_hidden=8, heads=2), SplitConfig(validation=0.2, test=0.2)
    return TrainJob(store.storage.root, KEY, store.fingerprint(), tower, config, splits)
