"""The user tower: what it starts from, what it reads, and how it is saved."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

from feature_rows import DIMS
from rayreel.tower.config import FrozenConfig, UserTowerConfig
from rayreel.tower.frozen import FrozenFeatures
from rayreel.tower.interests import decayed, interests_of
from rayreel.tower.memory import WatchMemory, memorised
from rayreel.tower.save import load_tower, save_tower
from rayreel.tower.user import NotAUserTower, UserTower, WatchHistory
from unit_vectors import unit

DIM = 16
CONFIG = UserTowerConfig(width=8, heads=3, history=5)
IDS = [f"v{n}" for n in range(20)]


def history(*numbers: int, ages: tuple[float, ...] = (), weights: tuple[float, ...] = ()) -> WatchHistory:
    vectors_ND = unit(20, DIM).numpy()
    return WatchHistory(
        [IDS[n] for n in numbers],
        vectors_ND[list(numbers)],
        np.array(weights or [1.0] * len(numbers)),
        np.array(ages or [3600.0 * n for n in range(len(numbers))]),
    )


MEMORY = WatchMemory(np.random.default_rng(0).random((11, 11)).astype(np.float16), decay=0.5, weight=2.0)


def trained(seed: int = 0) -> UserTower:
    """A tower with random weights everywhere."""
    torch.manual_seed(seed)
    tower = UserTower.of(CONFIG, DIM, IDS[:10])
    with torch.no_grad():
        for parameter in tower.network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        for table in (tower.network.source_ids, tower.network.target_ids, tower.network.popularity):
            table.weight[0] = 0
    tower.network.eval()
    return tower


@pytest.mark.parametrize("count", [1, 4, 20])
def test_untrained_it_is_the_vector_that_a_history_of_one_interest_has_without_it(count: int) -> None:
    rng = np.random.default_rng(count)
    watched = history(*range(count), ages=tuple(rng.random(count) * 1e7), weights=tuple(rng.random(count) * 3 + 0.1))
    found = UserTower.of(CONFIG, DIM, IDS).vector(watched)
    counts_H = decayed(watched.weights_H, watched.ages_H, CONFIG.half_life_s)
    [(sum_D, _)] = interests_of(watched.vectors_HD, counts_H, 0.0, 1)
    np.testing.assert_allclose(found.content_D, sum_D / np.linalg.norm(sum_D), atol=1e-6)
    np.testing.assert_array_equal(found.by_code_K, 0)


def test_the_order_of_a_history_matters_and_the_order_of_its_list_does_not() -> None:
    tower = trained()
    first = tower.vector(history(1, 2, 3, ages=(0, 60, 120))).content_D
    np.testing.assert_allclose(tower.vector(history(3, 1, 2, ages=(120, 0, 60))).content_D, first, atol=1e-6)
    assert not np.allclose(tower.vector(history(1, 2, 3, ages=(120, 60, 0))).content_D, first, atol=1e-3)


def test_attentions_read_the_newest_videos_and_the_mean_all() -> None:
    tower = trained()
    s_of = [tower.vector(history(*range(5), *more)).by_code_K for more in ((7, 8), (9,))]
    np.testing.assert_allclose(s_of[0], s_of[1], atol=1e-6)
    means = [tower.vector(history(*range(5), *more)).content_D for more in ((7, 8), (9,))]
    assert not np.allclose(means[0], means[1], atol=1e-3)


def test_a_video_without_a_code_is_known_by_its_embedding_alone() -> None:
    tower = trained()
    assert tower.codes_of(["v0", "v9", "v10", "gone"]).tolist() == [1, 10, 0, 0]
    assert not tower.residuals_KW[0].any() and tower.residuals_KW[1:].any(axis=1).all()
    assert np.isfinite(tower.vector(history(15, 16)).content_D).all()


def test_the_memory_adds_what_the_newest_videos_say_of_others() -> None:
    plain, remembering = trained(), replace(trained(), memory=MEMORY)
    watched = history(3, 15, 8, ages=(60, 30, 0))  # from the newest on: code 9, none, code 4
    added_K = remembering.vector(watched).by_code_K - plain.vector(watched).by_code_K
    expected_K = 2 * (MEMORY.weights_KK[9].astype(float) + 0.25 * MEMORY.weights_KK[4])
    expected_K += 2 * 0.5 * MEMORY.weights_KK[0].astype(float)
    np.testing.assert_allclose(added_K, expected_K, rtol=1e-3)


def test_what_is_watched_together_is_memorised_and_nothing_speaks_for_itself() -> None:
    watched_UK = sparse.csr_array(np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]], np.float32))
    weights_KK = memorised(watched_UK, 0.5)
    assert (np.diag(weights_KK) == 0).all() and weights_KK[0, 1] > 0.5
    assert abs(weights_KK[0, 2]) < 1e-6


def test_saved_and_loaded_it_gives_the_same_vectors(tmp_path: Path) -> None:
    features, tower = FrozenFeatures(FrozenConfig(), DIMS), replace(trained(), memory=MEMORY)
    features.users = tower
    save_tower(features, tmp_path)
    again = load_tower(tmp_path).users
    assert again is not None and again.codes == tower.codes
    found, expected = (each.vector(history(1, 12, 3)) for each in (again, tower))
    np.testing.assert_array_equal(found.content_D, expected.content_D)
    np.testing.assert_array_equal(found.by_code_K, expected.by_code_K)


def test_a_tower_without_one_is_loaded_without_one(tmp_path: Path) -> None:
    save_tower(FrozenFeatures(FrozenConfig(), DIMS), tmp_path)
    assert load_tower(tmp_path).users is None


@pytest.mark.parametrize("content", [b"", b"not safetensors", trained().to_bytes()[:-9]])
def test_damaged_bytes_are_an_error_that_says_what_to_do(content: bytes) -> None:
    with pytest.raises(NotAUserTower, match="Train and promote again"):
        UserTower.from_bytes(content)
