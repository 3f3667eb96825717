from pathlib import Path

import numpy as np
import pytest

from benchmarks.synthetic import LAPTOP_COUNTS, write_rows
from benchmarks.training import bare_loop, training_job
from rayreel.encoders.encoder import Modality
from rayreel.features.key import EncoderKey
from rayreel.features.matrix import FeatureMatrix
from rayreel.media.config import SamplingConfig
from rayreel.training.config import TrainConfig
from rayreel.training.job import open_features

SMALL = EncoderKey(
    identities={modality: f"small_{modality.value}@random" for modality in Modality},
    dims=dict.fromkeys(Modality, 64),
    frame_size=1,
    sampling=SamplingConfig(),
)


def test_synthetic_rows_are_a_store_that_training_reads_alike_in_memory_and_mapped(tmp_path: Path) -> None:
    store = write_rows(str(tmp_path / "storage"), 5000, SMALL)
    matrix = FeatureMatrix.from_table(store.read())
    assert len(matrix) == len(set(matrix.column("content_hash"))) == 5000
    assert len(set(matrix.column("category"))) == 50
    config = TrainConfig(ingest="mapped", scratch=tmp_path / "scratch")
    mapped = open_features(store, store.fingerprint(), config)
    for modality in Modality:
        assert set(matrix.vectors[modality].counts) == {LAPTOP_COUNTS[modality]}
        np.testing.assert_array_equal(mapped.vectors[modality].values, matrix.vectors[modality].values)


def test_synthetic_videos_of_a_category_are_similar(tmp_path: Path) -> None:
    matrix = FeatureMatrix.from_table(write_rows(str(tmp_path), 101, SMALL).read())
    first, near, far = matrix.vectors[Modality.TEXT].of(np.array([0, 50, 51])).astype(np.float32)
    assert np.corrcoef(first, near)[0, 1] > 0.2 > np.corrcoef(first, far)[0, 1]


@pytest.mark.parametrize("frames", [1, 8])
def test_the_bare_loop_returns_the_rate_of_every_epoch(tmp_path: Path, frames: int) -> None:
    store = write_rows(str(tmp_path), 300, SMALL, dict.fromkeys(Modality, frames))
    rates = bare_loop(training_job(store, TrainConfig(epochs=3, batch_size=64)), threads=1)
    assert len(rates) == 3 and min(rates) > 0
