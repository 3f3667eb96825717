import numpy as np
import pytest
import torch

from feature_rows import DIMS, clusters, feature_matrix, feature_row
from rayreel.encoders.encoder import Modality
from rayreel.evaluation.content import embed_modalities, pooled, titles, untrained
from rayreel.evaluation.scorers import by_embedding
from rayreel.features.matrix import FeatureMatrix
from rayreel.tower.config import TowerConfig
from rayreel.tower.embed import embed, embed_query
from rayreel.tower.tower import VideoTower


@pytest.fixture
def tower() -> VideoTower:
    torch.manual_seed(7)
    return VideoTower(TowerConfig(dim=32), DIMS)


def title_scores(*names: str) -> np.ndarray:
    """Scores of all titles for the first title as the query."""
    matrix = feature_matrix(*(feature_row(f"v{n}", title=title) for n, title in enumerate(names)))
    scores_QC = by_embedding(titles(matrix))(np.arange(len(names)))(np.array([0]))
    return np.asarray(scores_QC[0])


def test_titles_that_share_rare_words_score_highest() -> None:
    score = title_scores("a red boat", "a boat", "a cat", "the moon")
    assert score[0] > score[1] > score[2] > score[3] == 0


def test_titles_without_words_all_score_the_same() -> None:
    assert not title_scores("", "!!", "___").any()


def test_words_of_one_letter_and_of_other_scripts_are_used() -> None:
    score = title_scores("猫", "猫", "x")
    assert score[1] > score[2]


def test_inner_products_of_pooled_features_are_weighted_sums_of_cosines() -> None:
    matrix = feature_matrix(feature_row("a"), feature_row("b"), feature_row("c", text=False))
    visual, text, both = (
        pooled(matrix, weights) @ pooled(matrix, weights).T
        for weights in ({Modality.VISUAL: 1.0}, {Modality.TEXT: 1.0}, {Modality.VISUAL: 0.7, Modality.TEXT: 0.3})
    )
    np.testing.assert_allclose(both, 0.7 * visual + 0.3 * text, atol=1e-6)
    np.testing.assert_allclose(np.diag(both), [1, 1, 0.7], atol=1e-6)
    assert text[0, 2] == 0


def test_an_untrained_tower_is_reproducible_and_preserves_the_random_state(tower: VideoTower) -> None:
    matrix = clusters(each=3)
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first, second = embed(untrained(tower), matrix), embed(untrained(tower), matrix)
    torch.testing.assert_close(torch.rand(1), expected)
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, embed(tower, matrix))


def ablated() -> FeatureMatrix:
    return feature_matrix(
        feature_row("a"),
        feature_row("b", frames=0),
        feature_row("c", windows=0),
        feature_row("d", frames=1, text=False),
    )


def test_left_out_modalities_do_not_change_the_embedding(tower: VideoTower) -> None:
    matrix = ablated()
    embeddings = embed_modalities(tower, matrix, {Modality.VISUAL, Modality.AUDIO})
    visual, audio = matrix.vectors[Modality.VISUAL], matrix.vectors[Modality.AUDIO]
    known = {Modality.VISUAL: visual.of(np.array([0])), Modality.AUDIO: audio.of(np.array([0]))}
    alone = embed_query(tower, {modality: x.astype(np.float32) for modality, x in known.items()})
    np.testing.assert_allclose(embeddings[0], alone, atol=1e-5)
    assert not np.allclose(embeddings[0], embed(tower, matrix)[0], atol=1e-2)


def test_a_video_without_the_used_modalities_gets_a_zero_vector(tower: VideoTower) -> None:
    embeddings = embed_modalities(tower, ablated(), {Modality.VISUAL})
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), [1, 0, 1, 1], atol=1e-5)


def test_using_all_modalities_equals_embed(tower: VideoTower) -> None:
    np.testing.assert_allclose(embed_modalities(tower, ablated(), set(Modality)), embed(tower, ablated()), atol=1e-5)
