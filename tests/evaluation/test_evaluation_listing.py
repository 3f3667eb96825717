import numpy as np
import pytest

from rayreel.evaluation.listing import coverage, diversity, percentiles, popularity
from rayreel.evaluation.metrics import NO_ITEM, Ranked


def shown(*lists: list[int]) -> Ranked:
    places = np.array(lists)
    return Ranked(places, np.zeros(places.shape, bool), np.ones(len(places), np.int64))


def test_coverage_counts_each_video_once_and_ignores_empty_places() -> None:
    lists = shown([0, 1, 2], [1, 3, NO_ITEM])
    assert coverage(lists, 3, candidates=8) == 4 / 8
    assert coverage(lists, 1, candidates=8) == 2 / 8


def test_diversity_is_the_mean_cosine_distance_of_the_pairs() -> None:
    rng = np.random.default_rng(0)
    unit = rng.normal(size=(9, 4)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    found = diversity(shown([3, 1, 4, 0], [2, 7, 1, 8]), [1, 2, 4], unit)
    assert set(found) == {"diversity@2", "diversity@4"}
    for number, places in enumerate(([3, 1, 4, 0], [2, 7, 1, 8])):
        cosines = unit[places] @ unit[places].T
        assert found["diversity@4"][number] == pytest.approx(1 - cosines[np.triu_indices(4, 1)].mean(), abs=1e-6)
        assert found["diversity@2"][number] == pytest.approx(1 - cosines[0, 1], abs=1e-6)


def test_identical_vectors_have_no_diversity_and_empty_places_are_ignored() -> None:
    unit = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    found = diversity(shown([0, 1, NO_ITEM], [0, 2, NO_ITEM], [0, NO_ITEM, NO_ITEM]), [3], unit)["diversity@3"]
    np.testing.assert_allclose(found, [0, 1, 0], atol=1e-6)


def test_diversity_does_not_depend_on_the_chunk_size(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    unit, lists = rng.normal(size=(20, 3)).astype(np.float32), shown(*rng.integers(0, 20, (11, 5)).tolist())
    whole = diversity(lists, [2, 5], unit)
    monkeypatch.setattr("rayreel.evaluation.listing._CELLS", 40)
    for name, values in diversity(lists, [2, 5], unit).items():
        np.testing.assert_array_equal(values, whole[name])


def test_popularity_is_a_percentile_with_mean_one_half() -> None:
    views = np.array([5, 0, 100, 0, 7])
    rank = percentiles(views, np.array([0, 1, 2, 3]))  # row 4 is not a candidate
    assert rank[:4].mean() == 0.5 and rank[1] == rank[3] < rank[0] < rank[2]
    found = popularity(shown([2, 0, NO_ITEM], [1, 3, 0]), [1, 3], rank)
    assert found["popularity@1"].tolist() == [rank[2], rank[1]]
    assert found["popularity@3"][0] == pytest.approx((rank[2] + rank[0]) / 2)
