import numpy as np
from sklearn.preprocessing import normalize

from rayreel.evaluation.smoothing import NearestVideos


def unit_vectors() -> np.ndarray:
    unit_ND: np.ndarray = normalize(np.random.default_rng(0).normal(size=(30, 8))).astype(np.float32)
    return unit_ND


def test_neighbours_are_averaged_with_the_video_itself() -> None:
    unit_ND = unit_vectors()
    nearest = np.argsort(-unit_ND @ unit_ND.T, axis=1)[:, :6]  # the video itself and five others
    averaged = NearestVideos.of(unit_ND, 10).averaged(unit_ND, 5)
    np.testing.assert_allclose(averaged, normalize(unit_ND[nearest].sum(axis=1)), atol=1e-6)


def test_with_alpha_nearer_neighbours_have_more_weight() -> None:
    unit_ND = unit_vectors()
    cosine_NN = unit_ND @ unit_ND.T
    expected = unit_ND.copy()
    for row in range(30):
        for other in np.argsort(-cosine_NN[row])[1:4]:
            expected[row] += max(cosine_NN[row, other], 0) ** 3 * unit_ND[other]
    averaged = NearestVideos.of(unit_ND, 3).averaged(unit_ND, 3, alpha=3)
    np.testing.assert_allclose(averaged, normalize(expected), atol=1e-5)


def test_a_hub_is_more_crowded_than_a_video_far_from_all_others() -> None:
    near = normalize(np.eye(1, 4) + 0.1 * np.random.default_rng(0).normal(size=(10, 4)))
    crowding_N = NearestVideos.of(np.concatenate([near, -np.eye(1, 4)]).astype(np.float32), 3).crowding(3)
    assert crowding_N[:10].min() > 0.8
    assert crowding_N[10] < 0
