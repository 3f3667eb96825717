"""Baselines of a few lines: what they compute, and what they may not see."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from sklearn.preprocessing import normalize

from feature_rows import clusters
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.exam import Exam
from rayreel.evaluation.frozen import AVERAGED, PROBE, averaged, fit_frozen_features, from_frozen, probed
from rayreel.features.matrix import FeatureMatrix
from rayreel.tower.tower import Standardise

SPLITS = SplitConfig(validation=0.2, test=0.3)


def exam_of(matrix: FeatureMatrix) -> Exam:
    return Exam.of(matrix, SPLITS, EvaluationConfig())


def relabelled(matrix: FeatureMatrix, names: list[str]) -> FeatureMatrix:
    place = matrix.rows.column_names.index("category")
    return FeatureMatrix(matrix.vectors, matrix.rows.set_column(place, "category", pa.array(names)))


def test_neighbours_are_averaged_with_the_video_itself() -> None:
    unit_ND = normalize(np.random.default_rng(0).normal(size=(30, 8))).astype(np.float32)
    cosine_NN = unit_ND @ unit_ND.T
    nearest = np.argsort(-cosine_NN, axis=1)[:, :6]  # the video itself and five others
    np.testing.assert_allclose(averaged(unit_ND), normalize(unit_ND[nearest].sum(axis=1)), atol=1e-6)


def test_the_probe_finds_categories_that_cosines_do_not_show() -> None:
    """The category is one of 32 features; the others are noise of the same size."""
    rng = np.random.default_rng(0)
    category_N = rng.integers(0, 2, 400)
    x_ND = rng.normal(size=(400, 32))
    x_ND[:, 0] = 2 * category_N - 1
    unit_ND = normalize(x_ND).astype(np.float32)
    probed_ND = probed(unit_ND, np.array(["a", "b"])[category_N], np.arange(200))

    def same(vectors_ND: np.ndarray) -> float:
        nearest = np.argmax(vectors_ND[200:] @ vectors_ND[:200].T, axis=1)
        return float((category_N[nearest] == category_N[200:]).mean())

    assert same(probed_ND) > 0.9
    assert same(unit_ND) < 0.8


def test_no_category_of_a_test_video_is_used() -> None:
    matrix = clusters()
    exam = exam_of(matrix)
    names = matrix.column("category")
    hidden = relabelled(matrix, ["?" if row in exam.split.test else name for row, name in enumerate(names)])
    frozen = fit_frozen_features(exam)
    np.testing.assert_array_equal(
        from_frozen(frozen, exam)[PROBE](), from_frozen(frozen, replace(exam, matrix=hidden))[PROBE]()
    )


def test_features_are_standardised_by_training_videos_only() -> None:
    matrix = clusters()
    exam = exam_of(matrix)
    frozen = fit_frozen_features(exam)
    for modality, standardise in frozen.standardise.items():
        assert isinstance(standardise, Standardise)
        vectors = next(ragged for name, ragged in matrix.vectors.items() if name == modality)
        np.testing.assert_allclose(
            standardise.mean.numpy(), vectors.of(exam.split.train).astype(np.float32).mean(axis=0), atol=1e-3
        )


@pytest.mark.parametrize("names", [[""] * 100, ["one"] * 100])
def test_without_two_categories_there_is_no_probe(names: list[str]) -> None:
    exam = exam_of(relabelled(clusters(), names))
    assert set(from_frozen(fit_frozen_features(exam), exam)) == {AVERAGED}
