import numpy as np
import pytest
import torch

from feature_rows import DIMS, feature_matrix, feature_row
from rayreel.encoders.encoder import Modality
from rayreel.tower.embed import EmptyQuery, collate, embed, embed_query
from rayreel.tower.tower import TowerConfig, VideoTower

ROWS = np.arange(2)


def tower(fusion: str = "gated") -> VideoTower:
    """Looks at pictures and sound only."""
    torch.manual_seed(0)
    config = TowerConfig.model_validate({"dim": 16, "fusion": fusion, "modalities": ["visual", "audio"]})
    return VideoTower(config, DIMS).eval()


@pytest.mark.parametrize("fusion", ["gated", "concat", "attention"])
def test_what_a_tower_does_not_look_at_never_moves_its_embeddings(fusion: str) -> None:
    told = embed(tower(fusion), feature_matrix(feature_row("a"), feature_row("b", windows=0)))
    untold = embed(tower(fusion), feature_matrix(feature_row("a", text=False), feature_row("b", windows=0, text=False)))
    np.testing.assert_allclose(told, untold, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(told, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("fusion", ["gated", "concat", "attention"])
def test_a_video_of_which_a_tower_sees_nothing_gets_no_direction_and_harms_no_gradient(fusion: str) -> None:
    learning = tower(fusion)
    z_BD = learning(collate(feature_matrix(feature_row("seen"), feature_row("unseen", frames=0, windows=0)), ROWS))
    assert (z_BD[1] == 0).all()
    z_BD.square()[:, 0].sum().backward()
    gradients = [parameter.grad for parameter in learning.parameters() if parameter.grad is not None]
    assert gradients and all(gradient.isfinite().all() for gradient in gradients)


def test_a_query_that_a_tower_cannot_see_is_empty() -> None:
    with pytest.raises(EmptyQuery, match="visual, audio"):
        embed_query(tower(), {Modality.TEXT: np.ones((1, DIMS[Modality.TEXT]), np.float32)})


def test_a_matrix_shows_only_what_it_is_asked_for() -> None:
    shown = feature_matrix(feature_row("a"), feature_row("b")).with_modalities({Modality.VISUAL})
    assert shown.vectors[Modality.VISUAL].counts.tolist() == [3, 3]
    assert not shown.vectors[Modality.TEXT].counts.any()
    assert shown.vectors[Modality.TEXT].padded(np.array([0, 1]))[0].shape == (2, 1, DIMS[Modality.TEXT])
