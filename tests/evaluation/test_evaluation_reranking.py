"""k-reciprocal re-ranking against a literal version of the paper's steps."""

import numpy as np
from sklearn.preprocessing import normalize

from rayreel.evaluation.reranking import reranked


def literal(unit_ND: np.ndarray, k1: int, k2: int, original: float) -> np.ndarray:
    """The paper's algorithm with sets and loops."""
    count, cosine = len(unit_ND), unit_ND @ unit_ND.T
    order = np.argsort(-cosine, axis=1, kind="stable")

    def reciprocal(video: int, k: int) -> set[int]:
        return {int(other) for other in order[video, : k + 1] if video in order[other, : k + 1]}

    weights = np.zeros((count, count))
    for video in range(count):
        near = expanded = reciprocal(video, k1)
        for other in near:
            theirs = reciprocal(other, k1 // 2)
            if len(theirs & near) >= 2 / 3 * len(theirs):
                expanded = expanded | theirs
        for other in expanded:
            weights[video, other] = np.exp(cosine[video, other] - 1)
        weights[video] /= weights[video].sum()
    weights = np.stack([weights[order[video, :k2]].mean(axis=0) for video in range(count)])
    least = np.minimum(weights[:, None], weights[None]).sum(axis=2)
    most = np.maximum(weights[:, None], weights[None]).sum(axis=2)
    similarity: np.ndarray = (1 - original) * least / most + original * cosine
    return similarity


def test_re_ranking_does_what_the_paper_says() -> None:
    unit_ND = normalize(np.random.default_rng(0).normal(size=(60, 5))).astype(np.float32)
    np.testing.assert_allclose(reranked(unit_ND, 8, 3, 0.3), literal(unit_ND, 8, 3, 0.3), atol=1e-5)


def test_a_neighbour_that_is_not_reciprocal_falls_behind() -> None:
    """Video 0 lies outside a dense group; another video is as far from it, with a neighbourhood of its own."""
    rng = np.random.default_rng(1)
    group = normalize(np.array([1.0, 0.0, 0.0]) + 0.02 * rng.normal(size=(12, 3)))
    query, friend = normalize([[0.8, 0.6, 0.0]]), normalize([[0.55, 0.82, 0.1]])
    found = reranked(np.concatenate([query, friend, group]).astype(np.float32), k1=3, k2=1, original=0.0)
    assert found[0, 1] > found[0, 2:].max()
