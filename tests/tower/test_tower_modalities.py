import numpy as np
import pytest
import torch

from feature_rows import DIMS, feature_matrix, feature_row
from rayreel.encoders.encoder import Modality
from rayreel.tower.config import TowerConfig
from rayreel.tower.embed import EmptyQuery, collate, embed, embed_query
from rayreel.tower.tower import VideoTower

ROWS = np.arange(2)


def tower(fusion: str = "gated") -> VideoTower:
    """A tower that uses images and audio only."""
    torch.manual_seed(0)
    config = TowerConfig.model_validate({"dim": 16, "fusion": fusion, "modalities": ["visual", "audio"]})
    return VideoTower(config, DIMS).eval()


@pytest.mark.parametrize("fusion", ["gated", "concat", "attention"])
def test_unused_modalities_never_change_the_embeddings(fusion: str) -> None:
    with_text = feature_matrix(feature_row("a"), feature_row("b", windows=0))
    without_text = feature_matrix(feature_row("a", text=False), feature_row("b", windows=0, text=False))
    embeddings = embed(tower(fusion), with_text)
    np.testing.assert_allclose(embeddings, embed(tower(fusion), without_text), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("fusion", ["gated", "concat", "attention"])
def test_a_video_without_used_modalities_has_a_zero_embedding_and_finite_gradients(fusion: str) -> None:
    trained = tower(fusion)
    z_BD = trained(collate(feature_matrix(feature_row("full"), feature_row("text only", frames=0, windows=0)), ROWS))
    assert (z_BD[1] == 0).all()
    z_BD.square()[:, 0].sum().backward()
    gradients = [parameter.grad for parameter in trained.parameters() if parameter.grad is not None]
    assert gradients and all(gradient.isfinite().all() for gradient in gradients)


def test_a_query_without_used_modalities_is_rejected() -> None:
    with pytest.raises(EmptyQuery, match="visual, audio"):
        embed_query(tower(), {Modality.TEXT: np.ones((1, DIMS[Modality.TEXT]), np.float32)})


def test_a_matrix_can_be_restricted_to_some_modalities() -> None:
    restricted = feature_matrix(feature_row("a"), feature_row("b")).with_modalities({Modality.VISUAL})
    assert restricted.vectors[Modality.VISUAL].counts.tolist() == [3, 3]
    assert not restricted.vectors[Modality.TEXT].counts.any()
    assert restricted.vectors[Modality.TEXT].padded(np.array([0, 1]))[0].shape == (2, 1, DIMS[Modality.TEXT])
