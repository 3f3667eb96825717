from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_rows import DIMS, feature_matrix, feature_row, feature_table
from rayreel.encoders.encoder import Modality
from rayreel.features.matrix import FeatureMatrix, Ragged, all_rows, mean_pooled


@pytest.fixture
def ragged() -> Ragged:
    """Videos with 2, 0, 3 and 1 vectors; vector n is (n, -n)."""
    numbers = np.arange(6)
    return Ragged(np.stack([numbers, -numbers], axis=1).astype(np.float16), np.array([0, 2, 2, 5, 6]))


def test_padding_keeps_the_order_of_vectors_and_masks_the_rest(ragged: Ragged) -> None:
    values, mask = ragged.padded(np.array([2, 0, 1]))
    assert mask.tolist() == [[True, True, True], [True, True, False], [False, False, False]]
    assert values[..., 0].tolist() == [[2, 3, 4], [0, 1, 0], [0, 0, 0]]


def test_padding_extends_to_the_longest_of_the_requested_rows(ragged: Ragged) -> None:
    assert ragged.padded(np.array([3, 1]))[0].shape == (2, 1, 2)


def test_rows_without_vectors_get_one_masked_position(ragged: Ragged) -> None:
    values, mask = ragged.padded(np.array([1]))
    assert values.shape == (1, 1, 2)
    assert not mask.any()


def test_a_row_can_be_requested_twice(ragged: Ragged) -> None:
    values, _ = ragged.padded(np.array([3, 3]))
    assert values[:, 0].tolist() == [[5, -5], [5, -5]]


def test_no_rows_give_an_empty_batch(ragged: Ragged) -> None:
    assert ragged.padded(np.array([], dtype=np.int64))[0].shape == (0, 1, 2)


def test_mean_pooling_returns_zeros_for_videos_without_vectors(ragged: Ragged) -> None:
    pooled = mean_pooled(ragged)
    assert pooled.dtype == np.float32
    assert pooled.tolist() == [[0.5, -0.5], [0, 0], [3, -3], [5, -5]]


def test_null_modalities_have_no_vectors_and_do_not_shift_other_videos() -> None:
    rows = [
        feature_row("a", windows=0),
        feature_row("b", text=False),
        feature_row("c", frames=1),
        feature_row("d", frames=5, windows=0, text=False),
    ]
    matrix = feature_matrix(*rows)
    assert matrix.vectors[Modality.VISUAL].counts.tolist() == [3, 3, 1, 5]
    assert matrix.vectors[Modality.AUDIO].counts.tolist() == [0, 2, 2, 0]
    assert matrix.vectors[Modality.TEXT].counts.tolist() == [1, 0, 1, 0]
    sound, _ = matrix.vectors[Modality.AUDIO].padded(np.array([2]))
    np.testing.assert_array_equal(sound[0], rows[2]["audio"])
    words, _ = matrix.vectors[Modality.TEXT].padded(np.array([2]))
    np.testing.assert_array_equal(words[0], rows[2]["text"])


def test_float16_vectors_round_trip_exactly_through_parquet(tmp_path: Path) -> None:
    table = feature_table(feature_row("a", windows=0), feature_row("b", text=False), feature_row("c", frames=7))
    pq.write_table(table, tmp_path / "rows.parquet", compression="zstd")
    before, after = FeatureMatrix.from_table(table), FeatureMatrix.from_table(pq.read_table(tmp_path / "rows.parquet"))
    for modality in Modality:
        np.testing.assert_array_equal(after.vectors[modality].values, before.vectors[modality].values)
        np.testing.assert_array_equal(after.vectors[modality].offsets, before.vectors[modality].offsets)


def test_a_chunked_reordered_and_filtered_table_becomes_one_matrix() -> None:
    one, two = feature_table(feature_row("a"), feature_row("b", windows=0)), feature_table(feature_row("c", frames=1))
    table = pa.concat_tables([two, one]).filter(pa.array([True, False, True])).take([1, 0])
    matrix = FeatureMatrix.from_table(table)
    assert matrix.column("video_id") == ["b", "c"]
    assert matrix.vectors[Modality.VISUAL].counts.tolist() == [3, 1]
    np.testing.assert_array_equal(matrix.vectors[Modality.VISUAL].values[-1], feature_row("c", frames=1)["visual"][0])


def test_a_modality_that_no_video_has_keeps_its_width() -> None:
    matrix = feature_matrix(feature_row("a", windows=0, text=False), feature_row("b", windows=0, text=False))
    assert matrix.vectors[Modality.AUDIO].padded(np.array([0, 1]))[0].shape == (2, 1, DIMS[Modality.AUDIO])
    assert matrix.vectors[Modality.TEXT].padded(np.array([0, 1]))[0].shape == (2, 1, DIMS[Modality.TEXT])


def test_an_empty_table_is_an_empty_matrix() -> None:
    matrix = feature_matrix()
    assert len(matrix) == 0
    assert mean_pooled(matrix.vectors[Modality.VISUAL]).shape == (0, DIMS[Modality.VISUAL])


def test_batches_cover_every_row_once() -> None:
    assert np.concatenate(all_rows(10, 4)).tolist() == list(range(10))
    assert [len(rows) for rows in all_rows(10, 4)] == [4, 4, 2]
    assert list(all_rows(0, 4)) == []


def test_selecting_videos_returns_only_their_vectors(ragged: Ragged) -> None:
    assert ragged.of(np.array([0, 3]))[:, 0].tolist() == [0, 1, 5]
    assert ragged.of(np.array([1])).shape == (0, 2)
    assert ragged.of(np.array([], dtype=np.int64)).shape == (0, 2)
