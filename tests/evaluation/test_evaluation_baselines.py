import numpy as np

from feature_rows import clusters, feature_matrix, feature_row
from rayreel.encoders.encoder import Modality
from rayreel.evaluation.baselines import by_chance, by_embedding, by_pooled_features, by_titles
from rayreel.features.matrix import FeatureMatrix


def titled(*titles: str) -> FeatureMatrix:
    return feature_matrix(*(feature_row(f"v{n}", title=title) for n, title in enumerate(titles)))


def test_embeddings_score_by_cosine() -> None:
    z = np.array([[1, 0], [0.6, 0.8], [0, 1]], dtype=np.float32)
    np.testing.assert_allclose(by_embedding(z)(np.array([1, 0])), [[0.6, 1, 0.8], [1, 0.6, 0]], atol=1e-6)


def test_chance_is_the_same_for_a_query_whoever_else_asks() -> None:
    score = by_chance(clusters(each=5))
    np.testing.assert_array_equal(score(np.array([3, 7]))[1], score(np.array([7]))[0])
    assert not np.array_equal(score(np.array([3])), score(np.array([7])))
    assert not np.array_equal(by_chance(clusters(each=5), seed=1)(np.array([3])), score(np.array([3])))


def test_titles_that_share_rare_words_score_highest() -> None:
    score = by_titles(titled("a red boat", "a boat", "a cat", "the moon"))(np.array([0]))[0]
    assert score[0] > score[1] > score[2] > score[3] == 0


def test_a_catalog_without_words_scores_nobody_above_anybody() -> None:
    assert not by_titles(titled("", "!!", "___"))(np.array([0, 2])).any()


def test_words_of_one_letter_and_of_other_scripts_count() -> None:
    score = by_titles(titled("猫", "猫", "x"))(np.array([0]))[0]
    assert score[1] > score[2]


def test_pooled_features_are_the_weighted_sum_of_cosines() -> None:
    matrix = feature_matrix(feature_row("a"), feature_row("b"), feature_row("c", text=False))
    visual = by_pooled_features(matrix, {Modality.VISUAL: 1.0})(np.array([0]))[0]
    text = by_pooled_features(matrix, {Modality.TEXT: 1.0})(np.array([0]))[0]
    both = by_pooled_features(matrix, {Modality.VISUAL: 0.7, Modality.TEXT: 0.3})(np.array([0]))[0]
    np.testing.assert_allclose(both, 0.7 * visual + 0.3 * text, atol=1e-6)
    np.testing.assert_allclose(both[0], 1, atol=1e-6)
    assert text[2] == 0
