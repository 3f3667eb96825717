"""Neighbours in a single encoder's own space, against comparisons one by one."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from feature_rows import clusters, feature_matrix, feature_row
from rayreel.encoders.encoder import Modality
from rayreel.features.metric import Metric
from rayreel.features.space import EncoderSpace

MATRIX = clusters(each=6, spread=2.0)
KNOWN = {Metric.COSINE: "cosine", Metric.L2: "euclidean", Metric.L1: "manhattan"}


def apart(metric: Metric, one_D: np.ndarray, other_D: np.ndarray) -> float:
    """The smaller, the nearer."""
    match metric:
        case Metric.L1:
            return float(np.abs(one_D - other_D).sum())
        case Metric.L2:
            return float(np.sqrt(((one_D - other_D) ** 2).sum()))
        case _:
            return float(-(one_D @ other_D) / np.linalg.norm(one_D) / np.linalg.norm(other_D))


def means(modality: Modality) -> np.ndarray:
    ragged = MATRIX.vectors[modality]
    return np.stack([ragged.of(np.array([row])).astype(np.float64).mean(axis=0) for row in range(len(MATRIX))])


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("modality", [Modality.VISUAL, Modality.TEXT])
def test_neighbours_are_the_nearest_others_of_the_mean_raw_vectors(metric: Metric, modality: Modality) -> None:
    nearest_NK, scores_NK = EncoderSpace.of(MATRIX, modality, metric).neighbours(5)
    x_ND = means(modality)
    for row in range(len(MATRIX)):
        distance = {other: apart(metric, x_ND[row], x_ND[other]) for other in range(len(MATRIX)) if other != row}
        expected = sorted(distance, key=distance.__getitem__)[:5]
        assert nearest_NK[row].tolist() == expected
        sign = -1 if metric is Metric.COSINE else 1
        np.testing.assert_allclose(scores_NK[row], [sign * distance[other] for other in expected], rtol=1e-3)


@pytest.mark.parametrize("metric", Metric)
def test_the_nearest_to_a_vector_are_those_of_scikit_learn(metric: Metric) -> None:
    query_D = means(Modality.VISUAL)[3].astype(np.float32) + 0.1
    rows_K, _ = EncoderSpace.of(MATRIX, Modality.VISUAL, metric).nearest(query_D, 4)
    found = NearestNeighbors(n_neighbors=4, metric=KNOWN[metric]).fit(means(Modality.VISUAL))
    assert rows_K.tolist() == found.kneighbors(query_D[None], return_distance=False)[0].tolist()


def test_videos_without_the_modality_are_not_in_its_space() -> None:
    space = EncoderSpace.of(
        feature_matrix(feature_row("a"), feature_row("silent", windows=0), feature_row("c")), Modality.AUDIO, Metric.L2
    )
    assert space.rows["video_id"].to_pylist() == ["a", "c"]
    assert space.neighbours(9)[0].tolist() == [[1], [0]]


def test_a_single_video_has_no_neighbours() -> None:
    space = EncoderSpace.of(feature_matrix(feature_row("a")), Modality.VISUAL, Metric.L1)
    assert space.neighbours(3)[0].shape == (1, 0)
