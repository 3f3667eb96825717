"""SASRec by ids learns what follows what, and knows nothing about videos without views."""

import numpy as np

from feature_rows import feature_matrix, feature_row
from ordered_people import EACH, KINDS, ordered_views
from rayreel.evaluation.collaborative import by_ease
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.exam import Exam, Protocol
from rayreel.evaluation.metrics import Values, per_query
from rayreel.evaluation.ranking import rank
from rayreel.evaluation.sasrec import by_sasrec
from rayreel.evaluation.scorers import Scorer
from rayreel.evaluation.users import UserTask

MATRIX = feature_matrix(*(feature_row(f"v{row:02}") for row in range(KINDS * EACH)))
SPLITS = SplitConfig(user_cut="per_user", test=0.15)
CONFIG = EvaluationConfig(sasrec_epochs=20)


def exam_of(*, in_order: bool) -> Exam:
    return Exam.of(MATRIX, SPLITS, CONFIG, ordered_views(200, in_order=in_order))


def values(exam: Exam, scorer: Scorer) -> tuple[Values, UserTask]:
    task = exam.task(Protocol.USERS, "test")
    assert isinstance(task, UserTask)
    return per_query(rank(task, scorer, 10), [10], ["ndcg"])["ndcg@10"], task


def test_what_follows_what_is_learnt_and_cold_videos_are_never_found() -> None:
    exam = exam_of(in_order=True)
    assert exam.users is not None
    found_Q, task = values(exam, by_sasrec(exam.users, exam.users.test, CONFIG))
    ease_Q, _ = values(exam, by_ease(exam.users, exam.users.test, CONFIG))
    cold_Q = exam.users.views_N[task.user_queries.targets_Q[task.queries]] == 0
    assert cold_Q.any() and not found_Q[cold_Q].any()
    assert found_Q[~cold_Q].mean() > 1.5 * ease_Q[~cold_Q].mean()


def test_scores_do_not_depend_on_the_other_queries_and_are_reproducible() -> None:
    exam = exam_of(in_order=False)
    assert exam.users is not None
    config = EvaluationConfig(sasrec_epochs=1)
    one, two = (by_sasrec(exam.users, exam.users.test, config)(np.arange(len(MATRIX))) for _ in range(2))
    np.testing.assert_allclose(one(np.arange(20))[7:8], two(np.array([7])), rtol=1e-4, atol=1e-5)
