from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from feature_rows import feature_matrix, feature_row
from rayreel.catalog.interactions import SCHEMA
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.exam import Exam
from rayreel.evaluation.splits import Split
from rayreel.features.matrix import FeatureMatrix
from rayreel.training.config import Select
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.validation import SCORE, VIEW_SCORE, NothingToSelectBy, Validation, validation

SPLITS = SplitConfig(validation=0.2, test=0.3)
CO_WATCHED = PairsConfig(co_watched=1)


def matrix_of(*, categories: bool = True, tags: bool = False, count: int = 80) -> FeatureMatrix:
    def columns(n: int) -> dict[str, Any]:
        return {"category": f"c{n % 4}" if categories else "", "tags": [f"t{n % 5}"] if tags else []}

    return feature_matrix(*(feature_row(f"v{n:03}", **columns(n)) for n in range(count)))


def watched(matrix: FeatureMatrix, users: int = 60, each: int = 6) -> pa.Table:
    rng, start = np.random.default_rng(0), datetime(2026, 1, 1, tzinfo=UTC)
    ids = matrix.column("video_id")
    rows = [
        {"user_id": f"u{u}", "video_id": ids[v], "timestamp": start + timedelta(hours=float(rng.uniform(0, 1000)))}
        for u in range(users)
        for v in rng.choice(len(ids), each, replace=False)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def chosen(
    matrix: FeatureMatrix,
    select: str = "auto",
    pairs: PairsConfig | None = None,
    interactions: pa.Table | None = None,
    max_videos: int = 1000,
) -> tuple[Validation, Split]:
    exam = Exam.of(matrix, SPLITS, EvaluationConfig(), interactions, max_videos=max_videos)
    return validation(exam, Select(select), pairs or PairsConfig()), exam.split


def test_the_selection_score_is_measured_on_validation() -> None:
    assert SCORE.startswith("validation/")
    judge, _ = chosen(matrix_of())
    scores = judge.measure(np.random.default_rng(0).normal(size=(80, 4)).astype(np.float32))
    assert SCORE in scores and all(name.startswith("validation/") for name in scores)


@pytest.mark.parametrize("select", ["category", "tags", "co_watch", "users"])
def test_model_selection_never_uses_a_test_video(select: str) -> None:
    matrix = matrix_of(tags=True)
    judge, split = chosen(matrix, select, interactions=watched(matrix))
    assert judge.by == select
    assert not set(judge.rows.tolist()) & set(split.test.tolist())
    assert set(judge.task.candidates.tolist()) == set(split.train.tolist()) | set(split.validation.tolist())


def test_item_queries_are_validation_videos_only() -> None:
    judge, split = chosen(matrix_of())
    assert set(judge.task.queries.tolist()) <= set(split.validation.tolist())


def test_auto_selects_the_first_task_that_the_data_allow() -> None:
    assert chosen(matrix_of(tags=True))[0].by is Select.CATEGORY
    assert chosen(matrix_of(categories=False, tags=True))[0].by is Select.TAGS
    bare = matrix_of(categories=False)
    assert chosen(bare, interactions=watched(bare))[0].by is Select.USERS


def test_auto_validates_by_users_if_pairs_come_from_interactions() -> None:
    matrix = matrix_of()
    assert chosen(matrix, pairs=CO_WATCHED, interactions=watched(matrix))[0].by is Select.USERS
    assert chosen(matrix, interactions=watched(matrix))[0].by is Select.CATEGORY


@pytest.mark.parametrize("select", ["tags", "users", "co_watch", "views"])
def test_a_validation_task_without_queries_is_rejected_with_a_remedy(select: str) -> None:
    with pytest.raises(NothingToSelectBy, match=r"category or tags column.*splits\.validation"):
        chosen(feature_matrix(*(feature_row(f"v{n:03}", frames=1, windows=0) for n in range(80))), select)


def test_a_catalog_without_labels_and_interactions_is_validated_by_view_retrieval() -> None:
    matrix = matrix_of(categories=False)
    judge, split = chosen(matrix)
    assert judge.by is Select.VIEWS and judge.score == VIEW_SCORE
    ids = matrix.column("video_id")
    assert not set(judge.matrix.column("video_id")) & {ids[row] for row in split.test}
    scores = judge.measure(np.random.default_rng(0).normal(size=(len(judge.matrix), 4)).astype(np.float32))
    assert 0 <= scores[VIEW_SCORE] < 1 and all(name.startswith("validation/views/") for name in scores)


def test_views_are_selected_by_only_if_nothing_else_can_be_or_if_they_are_named() -> None:
    assert chosen(matrix_of(), "views")[0].by is Select.VIEWS
    assert chosen(matrix_of())[0].score == SCORE


@pytest.mark.parametrize("select", ["category", "users"])
def test_a_large_catalog_is_validated_on_a_fixed_sample(select: str) -> None:
    matrix = matrix_of()
    first, _ = chosen(matrix, select, interactions=watched(matrix), max_videos=40)
    again, _ = chosen(matrix, select, interactions=watched(matrix), max_videos=40)
    assert len(first.task.candidates) == 40 and len(first.rows) <= 80
    assert first.rows.tolist() == again.rows.tolist()
    assert 0 < len(first.task.queries) <= 40


def test_only_the_listed_rows_are_read() -> None:
    matrix = matrix_of()
    for select in ("category", "users"):
        judge, _ = chosen(matrix, select, interactions=watched(matrix), max_videos=40)
        embedding = np.random.default_rng(0).normal(size=(80, 4)).astype(np.float32)
        other = np.zeros_like(embedding)
        other[judge.rows] = embedding[judge.rows]
        assert judge.measure(embedding) == judge.measure(other)
