import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from rayreel.tower.losses.global_batch import FILLER, same_video
from rayreel.training.pairs import plan
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.pairs.relations import Alike

CPU = torch.device("cpu")


def on_a_circle(count: int) -> NDArray[np.float32]:
    """[count, 2] unit vectors on a half circle, in order: rows with close numbers are close to each other."""
    angle = np.linspace(0, np.pi, count)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def test_mined_rows_are_the_nearest_between_the_two_ranks() -> None:
    config = PairsConfig(mined_from_rank=2, mined_to_rank=5)
    mined = plan.mine(on_a_circle(20), np.arange(20), same_video, None, config, device=CPU)
    assert mined[0].tolist() == [3, 4, 5]
    assert sorted(mined[10].tolist()[:2]) == [8, 12]


def test_alike_rows_are_never_mined_and_take_no_rank() -> None:
    config = PairsConfig(mined_from_rank=1, mined_to_rank=3)
    alike = Alike([np.arange(20) // 5], [])
    mined = plan.mine(on_a_circle(20), np.arange(20), alike, None, config, device=CPU)
    assert mined[0].tolist() == [6, 7]
    assert (mined // 5 != (np.arange(20) // 5)[:, None]).all()


def test_rows_that_are_not_distinct_are_never_mined() -> None:
    config = PairsConfig(mined_from_rank=0, mined_to_rank=2)
    mined = plan.mine(
        on_a_circle(20), np.arange(20), same_video, lambda x, y: (x.unsqueeze(1) + y) % 2 == 1, config, device=CPU
    )
    assert mined[0].tolist() == [1, 3]


def test_only_the_given_rows_are_mined() -> None:
    rows = np.array([0, 3, 4, 9, 15])
    config = PairsConfig(mined_from_rank=0, mined_to_rank=2)
    mined = plan.mine(on_a_circle(20), rows, same_video, None, config, device=CPU)
    assert mined[0].tolist() == [3, 4]
    assert set(mined.ravel().tolist()) <= set(rows.tolist())


def test_missing_ranks_are_filler() -> None:
    config = PairsConfig(mined_from_rank=2, mined_to_rank=9)
    mined = plan.mine(on_a_circle(5), np.arange(5), same_video, None, config, device=CPU)
    assert mined[0].tolist() == [3, 4] + [FILLER] * 5


def test_mined_negatives_do_not_depend_on_the_chunk_size(monkeypatch: pytest.MonkeyPatch) -> None:
    config, rng = PairsConfig(mined_from_rank=2, mined_to_rank=9), np.random.default_rng(0)
    embeddings = rng.normal(size=(50, 8)).astype(np.float32)
    whole = plan.mine(embeddings, np.arange(50), same_video, None, config, device=CPU)
    monkeypatch.setattr(plan, "_CELLS_AT_ONCE", 150)
    np.testing.assert_array_equal(plan.mine(embeddings, np.arange(50), same_video, None, config, device=CPU), whole)
