"""Baselines of a few lines: what they compute, and what they may not see."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from sklearn.preprocessing import normalize

from feature_rows import clusters
from rayreel.encoders.encoder import Modality
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.exam import Exam, Protocol
from rayreel.evaluation.frozen import (
    AVERAGED,
    AVERAGED_PROBE,
    FROM_LABELS,
    MODALITY,
    PROBE,
    PROPAGATED,
    RERANKED,
    WEIGHTED,
    WHITENED,
    WITHOUT_LABELS,
    FewLines,
    fit_frozen_features,
)
from rayreel.evaluation.labelled import probed
from rayreel.evaluation.retrieval import ItemTask, measure
from rayreel.features.matrix import FeatureMatrix, Ragged
from rayreel.tower.embed import embed
from rayreel.tower.tower import Standardise
from watching import watched

SPLITS = SplitConfig(validation=0.2, test=0.3)


def exam_of(matrix: FeatureMatrix) -> Exam:
    return Exam.of(matrix, SPLITS, EvaluationConfig())


def viewers() -> pa.Table:
    """Each of 40 users watches videos of one category of `clusters()`."""
    rng = np.random.default_rng(0)
    liked = {user: rng.permutation(np.arange(user % 4, 100, 4))[:12] for user in range(40)}
    return watched(*((f"u{u}", f"v{row:03}", float(rng.integers(10**6))) for u, rows in liked.items() for row in rows))


def relabelled(matrix: FeatureMatrix, names: list[str]) -> FeatureMatrix:
    place = matrix.rows.column_names.index("category")
    return FeatureMatrix(matrix.vectors, matrix.rows.set_column(place, "category", pa.array(names)))


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


def made(exam: Exam, name: str) -> NDArray[np.float32]:
    """Return the scores of all test queries against all videos."""
    task = ItemTask.of(exam.split.test, np.arange(len(exam.matrix)), exam.matrix.column("category"), exam.groups)
    scorer = FewLines(exam, fit_frozen_features(exam)).methods()[name]()(task)
    assert scorer is not None
    return scorer(np.arange(len(exam.matrix)))(exam.split.test)


@pytest.mark.parametrize("name", [*WITHOUT_LABELS, *FROM_LABELS])
def test_no_category_of_a_test_video_is_used(name: str) -> None:
    matrix = clusters(spread=2.0)
    exam = exam_of(matrix)
    names = matrix.column("category")
    hidden = relabelled(matrix, ["c0" if row in exam.split.test else name for row, name in enumerate(names)])
    np.testing.assert_array_equal(made(exam, name), made(replace(exam, matrix=hidden), name))


@pytest.mark.parametrize("name", [WHITENED, AVERAGED, RERANKED, PROBE, PROPAGATED, AVERAGED_PROBE])
def test_a_few_lines_find_more_than_frozen_features_in_noisy_clusters(name: str) -> None:
    matrix = clusters(spread=3.5)
    exam = exam_of(matrix)
    task, frozen = exam.task(Protocol.CATEGORY, "test"), fit_frozen_features(exam)
    assert task is not None
    scorer = FewLines(exam, frozen).methods()[name]()(task)
    assert scorer is not None
    plain = measure(task, task.by(embed(frozen, matrix)))["ndcg@10"]
    assert measure(task, scorer)["ndcg@10"] > plain - (0.02 if name == WHITENED else 0)


def test_weights_are_chosen_that_leave_out_noise() -> None:
    """Only the text of these videos says anything about their category."""
    matrix = clusters(spread=1.0)
    rng = np.random.default_rng(0)
    noise = {
        m: Ragged(rng.normal(size=r.values.shape).astype(np.float16), r.offsets) for m, r in matrix.vectors.items()
    }
    exam = exam_of(FeatureMatrix({**noise, Modality.TEXT: matrix.vectors[Modality.TEXT]}, matrix.rows))
    few = FewLines(exam, fit_frozen_features(exam))
    few.methods()[MODALITY]()
    few.methods()[WEIGHTED]()
    assert few.chosen[MODALITY] == "text 1.0"
    assert float(few.chosen[WEIGHTED].rpartition("text ")[2]) >= 0.6


def test_without_labels_the_first_setting_is_taken() -> None:
    exam = exam_of(relabelled(clusters(tags=[]), [""] * 100))
    few = FewLines(exam, fit_frozen_features(exam))
    few.methods()[AVERAGED]()
    assert few.chosen[AVERAGED] == "k 5, alpha 0"


def test_each_user_is_answered_by_every_baseline() -> None:
    matrix = clusters()
    exam = Exam.of(matrix, SPLITS, EvaluationConfig(), viewers())
    task = exam.task(Protocol.USERS, "test")
    assert task is not None
    for name, make in FewLines(exam, fit_frozen_features(exam)).methods().items():
        scorer = make()(task)
        assert scorer is not None and measure(task, scorer)["recall@10"] > 0.1, name


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
def test_without_two_categories_nothing_is_learned_from_labels(names: list[str]) -> None:
    exam = exam_of(relabelled(clusters(), names))
    assert set(FewLines(exam, fit_frozen_features(exam)).methods()) == set(WITHOUT_LABELS)
