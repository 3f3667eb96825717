import numpy as np
import pytest
import torch

from feature_rows import DIMS, feature_matrix, feature_row
from rayreel.encoders.encoder import Modality
from rayreel.features.matrix import FeatureMatrix
from rayreel.tower.config import TowerConfig
from rayreel.tower.embed import EmptyQuery, collate, embed, embed_query
from rayreel.tower.tower import VideoTower

MATRIX = feature_matrix(
    feature_row("a", frames=5),
    feature_row("b", windows=0),
    feature_row("c", frames=1, text=False),
    feature_row("d", frames=0, windows=0),
    feature_row("e", windows=6),
)


@pytest.fixture
def tower() -> VideoTower:
    torch.manual_seed(0)
    return VideoTower(TowerConfig(dim=16), DIMS)


def known_of(matrix: FeatureMatrix, row: int) -> dict[Modality, np.ndarray]:
    known = {}
    for modality, ragged in matrix.vectors.items():
        vectors = ragged.values[ragged.offsets[row] : ragged.offsets[row + 1]].astype(np.float32)
        if len(vectors):
            known[modality] = vectors
    return known


def test_collate_returns_row_numbers_and_modality_masks() -> None:
    batch = collate(MATRIX, np.array([3, 0]))
    assert batch.ids_B.tolist() == [3, 0]
    assert batch.present_BM().tolist() == [[False, False, True], [True, True, True]]
    assert batch.vectors[Modality.VISUAL].dtype == torch.float32


def test_embeddings_do_not_depend_on_the_batch_size(tower: VideoTower) -> None:
    whole = embed(tower, MATRIX)
    assert whole.shape == (5, 16)
    np.testing.assert_allclose(embed(tower, MATRIX, batch=2), whole, atol=1e-6)


def test_embedding_disables_dropout(tower: VideoTower) -> None:
    tower.train()
    np.testing.assert_array_equal(embed(tower, MATRIX), embed(tower.train(), MATRIX))


def test_embedding_no_videos_returns_an_empty_array(tower: VideoTower) -> None:
    assert embed(tower, feature_matrix()).shape == (0, 16)


@pytest.mark.parametrize("row", range(5))
def test_a_query_with_all_features_of_a_video_has_the_embedding_of_that_video(tower: VideoTower, row: int) -> None:
    np.testing.assert_allclose(embed_query(tower, known_of(MATRIX, row)), embed(tower, MATRIX)[row], atol=1e-6)


@pytest.mark.parametrize("modality", Modality)
def test_a_single_modality_is_a_valid_query(tower: VideoTower, modality: Modality) -> None:
    query = embed_query(tower, {modality: known_of(MATRIX, 0)[modality]})
    assert np.linalg.norm(query) == pytest.approx(1, abs=1e-5)


def test_a_modality_without_vectors_is_absent(tower: VideoTower) -> None:
    known = known_of(MATRIX, 1)
    silent = known | {Modality.AUDIO: np.zeros((0, DIMS[Modality.AUDIO]), np.float32)}
    np.testing.assert_array_equal(embed_query(tower, silent), embed_query(tower, known))


def test_an_empty_query_is_rejected(tower: VideoTower) -> None:
    with pytest.raises(EmptyQuery, match="frames, sound or text"):
        embed_query(tower, {})
    with pytest.raises(EmptyQuery):
        embed_query(tower, {Modality.AUDIO: np.zeros((0, DIMS[Modality.AUDIO]), np.float32)})
