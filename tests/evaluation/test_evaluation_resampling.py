import numpy as np
import pytest
from scipy import stats

from rayreel.evaluation.resampling import holm, intervals, p_values

RNG = np.random.default_rng(0)
ALONE = np.arange(200)


def test_the_interval_matches_the_normal_approximation() -> None:
    values = RNG.normal(3, 1, (200, 2))
    low, high = intervals(values, ALONE, times=4000)
    error = 1.96 * values.std(axis=0) / 200**0.5
    np.testing.assert_allclose(low, values.mean(axis=0) - error, atol=0.02)
    np.testing.assert_allclose(high, values.mean(axis=0) + error, atol=0.02)


def test_the_interval_contains_the_true_mean_in_about_95_percent_of_samples() -> None:
    covered = []
    for _ in range(200):
        low, high = intervals((RNG.random((150, 1)) < 0.3).astype(np.float64), np.arange(150), 300)
        covered.append(low[0] <= 0.3 <= high[0])
    assert 0.88 <= np.mean(covered) <= 0.99


def test_copies_of_a_query_do_not_narrow_the_interval() -> None:
    values = RNG.normal(size=(40, 1))
    copies, of_one = np.repeat(values, 10, axis=0), np.repeat(np.arange(40), 10)
    np.testing.assert_allclose(intervals(copies, of_one, 500), intervals(values, np.arange(40), 500))
    naive = np.ptp(intervals(copies, np.arange(400), 500))
    assert naive < 0.5 * np.ptp(intervals(copies, of_one, 500))


def test_clusters_are_weighted_by_their_size() -> None:
    values, clusters = np.array([[1.0]] * 9 + [[0.0]]), np.array([0] * 9 + [1])
    low, high = intervals(values, clusters, 500)
    assert (low[0], high[0]) == (0, 1)


def test_a_clear_difference_is_significant_and_noise_is_not() -> None:
    noise = RNG.normal(0, 1, (200, 1))
    p = p_values(np.hstack([noise - noise.mean(), noise - noise.mean() + 0.5]), ALONE, 1000)
    assert p[0] > 0.5 and p[1] == pytest.approx(1 / 1001)


def test_p_agrees_with_the_t_test() -> None:
    differences = RNG.normal(0.1, 1, (200, 5))
    expected = stats.ttest_1samp(differences, 0).pvalue
    np.testing.assert_allclose(p_values(differences, ALONE, 5000), expected, atol=0.03)


def test_p_is_one_without_any_difference() -> None:
    assert p_values(np.zeros((50, 2)), np.arange(50), 200).tolist() == [1, 1]


def test_the_false_positive_rate_is_five_percent() -> None:
    p = p_values(RNG.normal(size=(60, 1000)), np.arange(60), 500)
    assert np.mean(p < 0.05) == pytest.approx(0.05, abs=0.025)


def test_a_difference_carried_by_one_cluster_is_not_significant() -> None:
    differences = np.repeat([[1.0]], 100, axis=0)
    assert p_values(differences, np.zeros(100, np.int64), 500)[0] == 1
    assert p_values(differences, np.arange(100), 500)[0] < 0.01


def test_holm_adjusts_p_values_for_the_number_of_comparisons() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


def test_intervals_are_reproducible_for_a_seed() -> None:
    values = RNG.random((30, 2))
    first, again, other = (intervals(values, np.arange(30), 200, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
