"""Averaging vectors with those of their nearest."""

import numpy as np
import pytest
from sklearn.preprocessing import normalize

from rayreel.tower.config import Smoothing
from rayreel.tower.smoothing import averaged, smoothed

UNIT_ND = normalize(np.random.default_rng(0).normal(size=(30, 8))).astype(np.float32)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 3.0])
def test_each_vector_is_summed_with_its_nearest_by_their_cosines(alpha: float) -> None:
    cosine_NN = UNIT_ND @ UNIT_ND.T
    expected = []
    for row, unit_D in enumerate(UNIT_ND):
        nearest = [other for other in np.argsort(-cosine_NN[row]) if other != row][:4]
        assert cosine_NN[row, nearest].min() > 0
        expected.append(unit_D + sum(cosine_NN[row, near] ** alpha * UNIT_ND[near] for near in nearest))
    found = smoothed(UNIT_ND, Smoothing(neighbours=4, alpha=alpha))
    np.testing.assert_allclose(found, normalize(expected), atol=1e-6)


def test_a_neighbour_on_the_other_side_has_no_weight() -> None:
    here, opposite = np.array([[1, 0]], np.float32), np.array([[-1, 0]], np.float32)
    np.testing.assert_array_equal(averaged(here, opposite, np.array([[0]]), alpha=0), here)


def test_without_neighbours_vectors_stay_what_they_are() -> None:
    assert smoothed(UNIT_ND, Smoothing()) is UNIT_ND
    assert smoothed(UNIT_ND[:1], Smoothing(neighbours=5)).tolist() == UNIT_ND[:1].tolist()


def test_more_neighbours_than_videos_are_all_others() -> None:
    three_ND = np.abs(UNIT_ND[:3]) / np.linalg.norm(UNIT_ND[:3], axis=1, keepdims=True)
    np.testing.assert_allclose(
        smoothed(three_ND, Smoothing(neighbours=9)), np.repeat(normalize([three_ND.sum(axis=0)]), 3, axis=0), atol=1e-6
    )
