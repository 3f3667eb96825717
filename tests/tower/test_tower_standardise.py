import numpy as np
import torch

from rayreel.tower.tower import Standardise


def seen(rows: int = 200) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(rows, 3)) * [1, 4, 0.5] + [2, -3, 0]).astype(np.float16)


def test_before_fitting_nothing_changes() -> None:
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(Standardise(3)(x), x)


def test_fitted_data_have_zero_mean_and_unit_spread() -> None:
    standardise = Standardise(3)
    standardise.fit(seen())
    out = standardise(torch.from_numpy(seen()).float())
    torch.testing.assert_close(out.mean(dim=0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(out.std(dim=0, unbiased=False), torch.ones(3), atol=1e-3, rtol=0)


def test_a_feature_constant_in_training_stays_bounded() -> None:
    constant = seen()
    constant[:, 1] = 7
    standardise = Standardise(3)
    standardise.fit(constant)
    out = standardise(torch.tensor([[2.0, 7.0, 0.0], [2.0, 5000.0, 0.0]]))
    assert out[0, 1] == 0
    assert out.isfinite().all()
    assert out.abs().max() <= 10


def test_constant_features_stay_finite() -> None:
    standardise = Standardise(3)
    standardise.fit(np.ones((5, 3), np.float16))
    assert standardise(torch.ones(2, 3)).isfinite().all()


def test_fitting_to_no_vectors_changes_nothing() -> None:
    standardise = Standardise(3)
    standardise.fit(np.zeros((0, 3), np.float16))
    x = torch.randn(2, 3)
    torch.testing.assert_close(standardise(x), x)


def test_the_statistics_are_saved_with_the_weights_and_not_trained() -> None:
    standardise = Standardise(3)
    standardise.fit(seen())
    again = Standardise(3)
    again.load_state_dict(standardise.state_dict())
    torch.testing.assert_close(again(torch.ones(1, 3)), standardise(torch.ones(1, 3)))
    assert list(standardise.parameters()) == []
