"""Decoding and encoding overlap, and the limit that a run reports is the true one: with a GPU of known speed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from films import write_film
from ray_here import own_cluster
from rayreel.catalog.read import Catalog, read_catalog
from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.encoder import Modality
from rayreel.features.config import ExtractConfig
from rayreel.features.extract import extract
from rayreel.features.ideal import Ideal
from rayreel.features.key import EncoderKey
from rayreel.features.pipeline import Pipeline
from rayreel.features.report import Throughput
from rayreel.features.store import FeatureStore
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.sandbox.serve import Decode
from rayreel.storage import Storage
from simulated_gpu import DIM, LAUNCH_S, ROWS, SimulatedGPU, fast_decoder, slow_decoder

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

SAMPLING = SamplingConfig(frames=8)
KEY = EncoderKey(
    identities=dict.fromkeys(Modality, "simulated"), dims=dict.fromkeys(Modality, DIM), frame_size=32, sampling=SAMPLING
)


@pytest.fixture(scope="module", autouse=True)
def _one_gpu() -> Iterator[None]:
    with own_cluster() as cluster:
        cluster.add_node(num_cpus=2, num_gpus=1)
        yield


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    folder = tmp_path / "videos"
    folder.mkdir()
    for number in range(8):
        write_film(folder / f"film{number}.mp4", frames=16, tone_hz=None, size=(64, 48))
    rows = read_catalog(folder).videos
    return Catalog(
        "many", [row.model_copy(update={"video_id": f"{row.video_id}-{n}"}) for n in range(32) for row in rows]
    )


def run(catalog: Catalog, folder: Path, row_s: float, decode: Decode, **settings: float) -> tuple[Throughput, Ideal]:
    cache = folder / "cache"
    cache.mkdir()
    (cache / "row_s").write_text(str(row_s))
    config = ExtractConfig(**settings)
    pipeline = Pipeline(EncodersConfig(), Limits(), config, cache, decode, SimulatedGPU)
    report = extract(catalog, FeatureStore(Storage(folder / "storage"), KEY), pipeline)
    assert report.extracted == len(catalog)
    ideal = Ideal.of(report.throughput)
    assert ideal is not None
    return report.throughput, ideal


@pytest.mark.parametrize("gpus_per_encoder", [1.0, 0.5])
def test_a_slow_gpu_is_full_and_reported_as_the_limit(
    catalog: Catalog, tmp_path: Path, gpus_per_encoder: float
) -> None:
    """Two actors on one GPU are not taken for two GPUs."""
    row_s = 0.01
    throughput, ideal = run(catalog, tmp_path, row_s, fast_decoder, gpus_per_encoder=gpus_per_encoder)
    frames = throughput.frames / throughput.costed  # short films have fewer than the eight that are asked for
    truth = 1 / (frames * (row_s + LAUNCH_S / ROWS))
    assert ideal.limit == "encode"
    assert ideal.videos_per_s == pytest.approx(truth, rel=0.02)
    # Decoding takes place meanwhile.
    assert throughput.videos_per_s == pytest.approx(truth, rel=0.15)
    assert 0.85 <= ideal.efficiency(throughput) <= 1.1


def test_a_fast_gpu_waits_for_decoders_which_are_reported_as_the_limit(catalog: Catalog, tmp_path: Path) -> None:
    throughput, ideal = run(catalog, tmp_path, 0.0001, slow_decoder)
    assert ideal.limit == "decode"
    assert ideal.decode_core_ms >= 50
    assert throughput.videos_per_s <= 1.05 * ideal.videos_per_s
