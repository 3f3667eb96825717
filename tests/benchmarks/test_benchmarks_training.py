import os
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.bare_loop import Halves, bare_loop
from benchmarks.resident import Moment, Watch, resident
from benchmarks.synthetic import SMALL, write_rows
from benchmarks.training import job_on
from feature_rows import feature_matrix, feature_row
from rayreel.encoders.encoder import Modality
from rayreel.features.matrix import FeatureMatrix
from rayreel.training.config import TrainConfig
from rayreel.training.data import open_features


def test_made_up_rows_are_a_store_that_training_reads_in_memory_and_mapped_alike(tmp_path: Path) -> None:
    store = write_rows(str(tmp_path / "storage"), 5000, SMALL)
    matrix = FeatureMatrix.from_table(store.read())
    assert len(matrix) == len(set(matrix.column("content_hash"))) == 5000
    assert len(set(matrix.column("category"))) == 50
    config = TrainConfig(ingest="mapped", scratch=tmp_path / "scratch")
    mapped = open_features(store, store.fingerprint(), config)
    for modality in Modality:
        assert set(matrix.vectors[modality].counts) == {SMALL.counts[modality]}
        np.testing.assert_array_equal(mapped.vectors[modality].values, matrix.vectors[modality].values)


def test_made_up_videos_of_a_category_are_alike(tmp_path: Path) -> None:
    matrix = FeatureMatrix.from_table(write_rows(str(tmp_path), 101, SMALL).read())
    first, near, far = matrix.vectors[Modality.TEXT].of(np.array([0, 50, 51])).astype(np.float32)
    assert np.corrcoef(first, near)[0, 1] > 0.2 > np.corrcoef(first, far)[0, 1]


def test_the_bare_loop_gives_a_rate_for_every_epoch(tmp_path: Path) -> None:
    job = job_on(write_rows(str(tmp_path), 300, SMALL), TrainConfig(epochs=3, batch_size=64))
    rates = bare_loop(job, threads=1)
    assert len(rates) == 3 and min(rates) > 0


def test_the_bare_loop_deals_every_vector_to_one_view_and_a_single_one_to_both() -> None:
    rows = [feature_row(name, frames=5, windows=2) for name in "abc"]
    a, b = Halves.of(feature_matrix(*rows)).views(torch.tensor([2, 0]))
    assert a.mask[Modality.VISUAL].logical_xor(b.mask[Modality.VISUAL]).all()
    assert a.mask[Modality.TEXT].all() and b.mask[Modality.TEXT].all()
    expected = feature_matrix(rows[2]).vectors[Modality.VISUAL].values
    np.testing.assert_array_equal(a.vectors[Modality.VISUAL][0].numpy(), expected.astype(np.float32))


def test_own_memory_and_mapped_files_are_told_apart(tmp_path: Path) -> None:
    start = resident(os.getpid())
    hoard = np.ones(50 << 20, np.uint8)
    hoarding = resident(os.getpid())
    assert 45 < hoarding[0] - start[0] < 80 and hoarding[1] - start[1] < 20
    np.save(tmp_path / "large.npy", hoard)
    file = np.load(tmp_path / "large.npy", mmap_mode="r")
    assert int(file.sum()) == 50 << 20
    reading = resident(os.getpid())
    assert reading[0] - hoarding[0] < 20 and 45 < reading[1] - hoarding[1] < 80


def test_a_peak_is_that_of_its_time() -> None:
    watch = Watch(os.getpid())
    watch.moments = [Moment(1, 10, 1), Moment(2, 30, 2), Moment(3, 20, 5)]
    assert watch.peak(end_s=1.5) == (10, 1) and watch.peak(start_s=2.5) == (20, 5) and watch.peak() == (30, 5)


def test_a_watch_over_nothing_sees_nothing() -> None:
    with Watch(os.getpid()) as watch:
        time.sleep(0.5)
    assert watch.moments == []
