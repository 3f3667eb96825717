"""Interests: the groups of a watch history, each of which is a query of its own."""

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.spatial.distance import squareform


def decayed(weights_H: NDArray[np.float64], ages_H: NDArray[np.float64], half_life_s: float) -> NDArray[np.float64]:
    """Return the weights of a history, halved per half-life of age, 1 on average."""
    # Very old videos keep a positive weight: they may be all there is.
    counts_H = np.maximum(weights_H * 0.5 ** (ages_H / half_life_s), 1e-9)
    return counts_H / counts_H.mean() if len(counts_H) else counts_H


def mean_cosine_of(total_D: NDArray[np.float64], count: int) -> float:
    """Return the mean cosine of two different ones of `count` unit vectors, from their sum; 0 for fewer than two."""
    # The square of the sum contains each pair twice, and each vector's cosine with itself, which is 1.
    return float((total_D @ total_D - count) / (count * (count - 1))) if count > 1 else 0.0


def interests_of(
    vectors_HD: NDArray[np.float32], counts_H: NDArray[np.float64], mean_cosine: float, max_groups: int
) -> list[tuple[NDArray[np.float64], float]]:
    """Return the weighted sum [dim] and the weight of each group of unit vectors [H, dim], at most `max_groups`.

    `mean_cosine` is that of any two videos. Groups whose vectors cancel out are left out.
    """
    if not len(vectors_HD):
        return []
    labels_H = _labels(vectors_HD, counts_H, mean_cosine, max_groups)
    weighted_HD = vectors_HD * counts_H[:, None]
    groups = [
        (weighted_HD[labels_H == g].sum(axis=0), float(counts_H[labels_H == g].sum())) for g in np.unique(labels_H)
    ]
    return [group for group in groups if np.linalg.norm(group[0]) > 1e-9 * group[1]]


def _labels(
    vectors_HD: NDArray[np.float32], counts_H: NDArray[np.float64], mean_cosine: float, max_groups: int
) -> NDArray[np.int64]:
    """Group labels by Ward's method: the fewest groups that are all cohesive, at most `max_groups`.

    Groups are cohesive if the mean cosine within them is nearer to 1 than to `mean_cosine`, that of any two videos of
    the release. Source for Ward's groups of a user's history: Pal et al. 2020, PinnerSage.
    """
    labels_H = np.zeros(len(counts_H), np.int64)
    cohesive = (1 + mean_cosine) / 2
    if _cohesion(vectors_HD, counts_H, labels_H) >= cohesive:
        return labels_H
    distances_HH = np.sqrt(np.clip(2 - 2 * vectors_HD @ vectors_HD.T, 0, None))
    np.fill_diagonal(distances_HH, 0)
    tree = linkage(squareform(distances_HH, checks=False), "ward")
    # All cuts, from H groups to one: for equal distances `fcluster` makes too few groups, and so does cut_tree when
    # asked for as many groups as vectors.
    for labels_H in cut_tree(tree).T[::-1][1:max_groups]:
        if _cohesion(vectors_HD, counts_H, labels_H) >= cohesive:
            break
    return labels_H


def _cohesion(vectors_HD: NDArray[np.float32], counts_H: NDArray[np.float64], labels_H: NDArray[np.int64]) -> float:
    """Mean cosine of two different vectors of the same group, weighted by both; 1 if every group has one vector."""
    total = pairs = 0.0
    for group in np.unique(labels_H):
        counts_G = counts_H[labels_H == group]
        sum_D = counts_G @ vectors_HD[labels_H == group]
        # Squares of sums contain every pair twice, and each vector with itself.
        total += float(sum_D @ sum_D - counts_G @ counts_G)
        pairs += float(counts_G.sum() ** 2 - counts_G @ counts_G) if len(counts_G) > 1 else 0.0
    return total / pairs if pairs else 1.0
