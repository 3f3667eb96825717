"""A decoder that crashes or hangs affects only its file, and a lost node costs only time."""

import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from chain import ROOT
from films import write_film
from planted import faulty
from ray_here import own_cluster
from rayreel.catalog.read import Catalog, read_catalog
from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.load import load_encoders
from rayreel.features.config import ExtractConfig
from rayreel.features.extract import ExtractReport, extract
from rayreel.features.key import EncoderKey
from rayreel.features.pipeline import Pipeline
from rayreel.features.store import FeatureStore
from rayreel.media.config import Limits, SamplingConfig
from rayreel.storage import Storage

WEIGHTS = ROOT / ".rayreel-test" / "weights"
ENCODERS = EncodersConfig(cache_dir=WEIGHTS)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    encoders = load_encoders(ENCODERS, WEIGHTS)
    key = EncoderKey(identities=encoders.identities, dims=encoders.dims, frame_size=224, sampling=SamplingConfig())
    return FeatureStore(Storage(tmp_path / "storage"), key)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    for number in range(10):
        write_film(folder / f"film{number}.mp4", frames=40 + number, tone_hz=None)
    return folder


def test_a_crash_and_a_hang_affect_only_their_own_files(folder: Path, store: FeatureStore, ray_cluster: None) -> None:
    write_film(folder / "crash.mp4", frames=40, tone_hz=None)
    write_film(folder / "hang.mp4", frames=40, tone_hz=None)
    pipeline = Pipeline(ENCODERS, Limits(timeout_s=2), ExtractConfig(videos_per_block=4), WEIGHTS, faulty)
    report = extract(read_catalog(folder), store, pipeline)
    assert report.extracted == 10
    assert report.reasons == {"decoder_crash": 1, "timeout": 1}
    assert {row["video_id"]: row["reason"] for row in store.quarantined().to_pylist()} == {
        "crash": "decoder_crash",
        "hang": "timeout",
    }


@pytest.mark.faults
def test_a_lost_node_costs_only_time(folder: Path, store: FeatureStore) -> None:
    rows = read_catalog(folder).videos
    many = [video.model_copy(update={"video_id": f"{video.video_id}-{n}"}) for n in range(30) for video in rows]
    done: list[ExtractReport] = []
    with own_cluster(cpus=2) as cluster:
        lost = cluster.add_node(num_cpus=2)
        pipeline = Pipeline(ENCODERS, Limits(), ExtractConfig(), WEIGHTS)
        work = threading.Thread(target=lambda: done.append(extract(Catalog("many", many), store, pipeline)))
        work.start()
        while len(store.storage.files(store.features, ".parquet")) < 2:
            assert work.is_alive()
            time.sleep(0.1)
        cluster.remove_node(lost, allow_graceful=False)
        work.join()
    assert done and done[0].extracted == 300
    table: pa.Table = store.read(["video_id"])
    assert table["video_id"].to_pylist() == sorted(video.video_id for video in many)
