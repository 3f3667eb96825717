"""Choosing how a release averages its vectors."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.preprocessing import normalize

from feature_rows import clusters
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.exam import Exam
from rayreel.evaluation.frozen import fit_frozen_features
from rayreel.tower.config import Smoothing
from rayreel.tower.embed import embed
from rayreel.training.config import Select
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.smoothing import CANDIDATES, choose_smoothing
from rayreel.training.validation import Validation, validation

MATRIX = clusters(categories=4, each=50, spread=3.0)
EXAM = Exam.of(MATRIX, SplitConfig(validation=0.3, test=0.2), EvaluationConfig())


def task(select: Select = Select.CATEGORY) -> Validation:
    return validation(EXAM, select, PairsConfig())


def test_noisy_vectors_of_clear_categories_are_averaged() -> None:
    found = choose_smoothing(embed(fit_frozen_features(EXAM), MATRIX), task())
    assert found is not None and found.smoothing in CANDIDATES and found.smoothing == found.best
    assert found.score > found.none and found.p < 0.05


def test_vectors_that_gain_nothing_are_not_averaged() -> None:
    """The nearest videos of each are three of other categories; the next ones are of its own."""
    numbers, codes = np.arange(len(MATRIX)), np.unique(MATRIX.column("category"), return_inverse=True)[1]
    assert all(len(set(four)) == 4 for four in codes.reshape(-1, 4))
    vectors_ND = np.concatenate([np.eye(4)[codes] / 2, np.eye(len(numbers) // 4)[numbers // 4]], axis=1)
    found = choose_smoothing(normalize(vectors_ND).astype(np.float32), task())
    assert found is not None and found.smoothing == Smoothing() and found.score <= found.none
    assert str(found).startswith("none (")


def test_no_test_video_has_a_say() -> None:
    embedding_ND = embed(fit_frozen_features(EXAM), MATRIX)
    other_ND = embedding_ND.copy()
    other_ND[EXAM.split.test] = embedding_ND[EXAM.split.train[: len(EXAM.split.test)]]
    assert choose_smoothing(embedding_ND, task()) == choose_smoothing(other_ND, task())


@pytest.mark.parametrize("select", [Select.VIEWS, Select.CATEGORY])
def test_without_labelled_queries_nothing_is_chosen(select: Select) -> None:
    found = replace(task(), by=select)
    if select is Select.CATEGORY:
        found = replace(found, task=replace(found.task, queries=np.empty(0, np.int64)))  # type: ignore[type-var]
    assert choose_smoothing(embed(fit_frozen_features(EXAM), MATRIX), found) is None
