import numpy as np

from rayreel.training.pairs.sources import NONE, SameLabel

LABELS = np.array([0, 1, 0, NONE, 0, 2, 1, NONE, 0])
TRAIN = np.array([0, 1, 2, 3, 4, 5, 7])


def test_partners_are_drawn_uniformly_from_the_other_training_rows_of_the_label() -> None:
    source, rng = SameLabel.of(LABELS, TRAIN), np.random.default_rng(0)
    drawn = source.partners(np.full(3000, 2), rng)
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == [0, 4]
    assert abs(counts[0] / 3000 - 0.5) < 0.05


def test_rows_without_a_label_or_with_a_unique_one_have_no_partner() -> None:
    source, rng = SameLabel.of(LABELS, TRAIN), np.random.default_rng(0)
    assert np.flatnonzero(source.has_N()).tolist() == [0, 2, 4]
    assert source.partners(np.array([1, 3, 5, 7]), rng).tolist() == [NONE] * 4


def test_partner_frequency_matches_the_draws() -> None:
    source, rng = SameLabel.of(LABELS, TRAIN), np.random.default_rng(0)
    weight = np.array([3.0, 0, 1, 0, 0, 0, 0, 0, 0])
    drawn = source.partners(rng.choice(9, size=20000, p=weight / 4), rng)
    np.testing.assert_allclose(np.bincount(drawn, minlength=9) / 20000, source.partner_frequency(weight) / 4, atol=0.02)
