"""From videos to HTTP responses on two nodes that share only an object store, an index and a tracking server."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import mlflow
import pytest
from mlflow import MlflowClient as Tracking
from ray.cluster_utils import Cluster
from ray.util.state import list_actors, list_tasks
from ray.util.state.common import ActorState

from chain import ROOT
from ports import free_port, listens
from ray_here import own_cluster
from rayreel.catalog.sample.config import SampleConfig
from rayreel.catalog.sample.manifest import write_manifest
from rayreel.catalog.sample.plan import plan_sample
from rayreel.index.config import IndexConfig
from rayreel.index.connect import connect
from rayreel.media.render.encode import render
from rayreel.storage import Storage
from run import WEIGHTS

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

CLIPS = 32
# Both CPUs of a node for each worker, so that two workers need two nodes.
TRAIN = ("train.workers=2", "train.cpus_per_worker=2", "train.epochs=2", "splits.test=0.3", "splits.validation=0.3")


@dataclass(frozen=True)
class Site:
    """Two nodes with two CPUs each, and the servers that they share."""

    cluster: Cluster
    nodes: set[str]
    milvus: str
    folder: Path

    def job(self, *words: str) -> str:
        """Run a job, which must succeed, and return its output."""
        environment = os.environ | {"RAY_ADDRESS": self.cluster.address, "COLUMNS": "200"}
        command = [sys.executable, *words]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@contextmanager
def server(*words: str, port: int) -> Iterator[None]:
    """Run a server on the port for the duration of the block."""
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 240
        while not listens(port):
            assert process.poll() is None and time.monotonic() < deadline, words
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(30)


def is_replica(actor: ActorState) -> bool:
    return bool(actor.state == "ALIVE" and actor.class_name.startswith("ServeReplica:rayreel:"))


@pytest.fixture
def site(tmp_path: Path, ray_folder: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    s3, milvus, tracking = free_port(), free_port(), free_port()
    where = f"scheme=http&endpoint_override=127.0.0.1:{s3}&region=us-east-1&allow_bucket_creation=true"
    variables = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "RAYREEL_STORAGE": f"s3://rayreel/state?{where}",
        "RAYREEL_ENCODERS__CACHE_DIR": str(WEIGHTS),
        "MILVUS_URI": f"http://127.0.0.1:{milvus}",
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{tracking}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    database = ("--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--workers", "1")
    mlflow_words = ("-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(tracking), *database)
    with (
        server("-m", "moto.server", "-H", "127.0.0.1", "-p", str(s3), port=s3),
        server(str(ROOT / "tests" / "milvus_alone.py"), str(tmp_path / "milvus"), str(milvus), port=milvus),
        server(*mlflow_words, "--artifacts-destination", str(tmp_path / "artifacts"), port=tracking),
        own_cluster() as cluster,
    ):
        nodes = {cluster.add_node(num_cpus=2).node_id for _ in range(2)}
        yield Site(cluster, nodes, variables["MILVUS_URI"], tmp_path)


def test_extract_train_promote_and_serve_on_two_nodes_with_all_state_in_an_object_store(site: Site) -> None:
    clips = plan_sample(SampleConfig(clips=CLIPS, categories=4, seed=3, easy=True))
    for clip in clips:
        render(clip, site.folder / "videos" / clip.file)
    manifest = write_manifest(clips, site.folder / "videos")

    site.job("jobs/extract.py", "--catalog", str(manifest))
    tasks = list_tasks(site.cluster.address, detail=True, limit=10_000)
    assert {task.node_id for task in tasks if "DecodeVideos" in task.name} == site.nodes

    site.job("jobs/train.py", *(word for setting in TRAIN for word in ("--set", setting)))
    actors = list_actors(site.cluster.address, detail=True, limit=10_000)
    workers = [actor.node_id for actor in actors if "RayTrainWorker" in actor.class_name]
    assert len(workers) == 2 and set(workers) == site.nodes

    site.job("jobs/promote.py", "--force", "the test of two nodes")
    client = connect(IndexConfig(uri=site.milvus), None)
    assert client.describe_alias(alias="videos")["collection_name"] == "videos_v1"
    assert client.query("videos_v1", filter="", output_fields=["count(*)"])[0]["count(*)"] == CLIPS
    mlflow.set_tracking_uri(None)
    assert Tracking(os.environ["MLFLOW_TRACKING_URI"]).get_model_version_by_alias("rayreel-tower", "champion")
    storage = Storage(os.environ["RAYREEL_STORAGE"])
    assert {"features", "checkpoints", "releases"} <= set(storage.folders(storage.path()))

    port = free_port()
    site.job("jobs/serve.py", "--port", str(port))
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as api:
        assert api.get("/readyz").json()["index_size"] == CLIPS
        for query in ({"video_id": clips[0].video_id}, {"text": clips[0].title}):
            answer = api.post("/v1/recommend", json={**query, "top_k": 5})
            assert answer.status_code == httpx.codes.OK, answer.text
            assert answer.json()["release"] == 1 and len(answer.json()["results"]) == 5
    replicas = [actor for actor in list_actors(site.cluster.address, detail=True, limit=10_000) if is_replica(actor)]
    assert {actor.node_id for actor in replicas} == site.nodes
