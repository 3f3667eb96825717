import numpy as np
import pytest

from feature_rows import DIMS, feature_matrix, feature_row
from rayreel.encoders.encoder import Modality
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.evaluate import Evaluation, evaluate
from rayreel.evaluation.exam import Exam
from rayreel.evaluation.ranking import rank
from rayreel.evaluation.report import markdown, verdict
from rayreel.evaluation.retrieval import measure
from rayreel.evaluation.scorers import by_chance
from rayreel.evaluation.view_retrieval import ViewTask, splittable, two_views
from rayreel.features.matrix import FeatureMatrix, mean_pooled
from rayreel.tower.config import TowerConfig
from rayreel.tower.tower import VideoTower

SPLITS = SplitConfig(validation=0.2, test=0.3)
QUICK = EvaluationConfig(ks=(1, 10), neighbour_ks=(1, 10), bootstrap=200)


def unlabelled(count: int = 60) -> FeatureMatrix:
    """Return videos whose vectors lie close to a centre of their own."""
    rng = np.random.default_rng(0)
    centres = [{m: 2 * rng.normal(size=dim) for m, dim in DIMS.items()} for _ in range(count)]
    rows = (feature_row(f"v{n:02}", centre=c, spread=0.2, frames=n % 4) for n, c in enumerate(centres))
    return feature_matrix(*rows)


def vectors_of(matrix: FeatureMatrix, modality: Modality, row: int) -> set[tuple[float, ...]]:
    return {tuple(vector) for vector in matrix.vectors[modality].of(np.array([row])).tolist()}


def test_two_views_of_a_video_have_no_vector_in_common_and_none_is_empty() -> None:
    matrix = unlabelled()
    rows = np.array([3, 7, 10, 59])
    views = two_views(matrix, rows)
    assert len(views) == 8 and views.column("video_id") == [*matrix.rows["video_id"].take(rows).to_pylist()] * 2
    for place, row in enumerate(rows):
        for modality in Modality:
            one, other = (vectors_of(views, modality, place + side * len(rows)) for side in (0, 1))
            assert not one & other and one | other <= vectors_of(matrix, modality, row)
        assert all(any(vectors_of(views, m, place + side * 4) for m in Modality) for side in (0, 1))


def test_views_are_the_same_for_the_same_seed_and_divide_frames_into_halves() -> None:
    matrix = feature_matrix(*(feature_row(f"v{n}", frames=5, windows=0, text=False) for n in range(50)))
    rows = np.arange(50)
    first, again, other = (two_views(matrix, rows, seed).vectors[Modality.VISUAL] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.values, again.values)
    assert not np.array_equal(first.values, other.values)
    assert set(first.counts.tolist()) == {2, 3}  # the only modality is never dropped
    assert (first.counts[:50] + first.counts[50:] == 5).all()


def test_a_video_with_single_vectors_cannot_be_divided() -> None:
    whole = feature_row("a", frames=1, windows=1)
    matrix = feature_matrix(whole, feature_row("b", frames=2, windows=0), feature_row("c", frames=0, windows=2))
    assert splittable(matrix).tolist() == [False, True, True]


def test_the_other_view_is_the_only_relevant_one_and_other_cuts_are_left_out() -> None:
    task = ViewTask.of(np.array([True, False, False]), np.array([7, 7, 4]))
    assert task.queries.tolist() == [0, 3] and task.clusters.tolist() == [1, 1]
    vectors = np.eye(6, dtype=np.float32)
    vectors[3] = vectors[0]
    ranked = rank(task, task.by(vectors), 6)
    assert ranked.items_QK[:, 0].tolist() == [3, 0] and ranked.relevant_Q.tolist() == [1, 1]
    # Videos 0 and 1 are cuts of one source: its views 1 and 4 are not in the ranking, nor is the query.
    assert {tuple(sorted(set(row.tolist()) - {-1})) for row in ranked.items_QK} == {(2, 3, 5), (0, 2, 5)}


def test_vectors_that_identify_a_video_find_its_other_view_and_chance_does_not() -> None:
    views, task = Exam.of(unlabelled(), SPLITS, QUICK).views("test") or pytest.fail("no views")
    pooled = np.concatenate([mean_pooled(views.vectors[m]) for m in Modality], axis=1)
    assert measure(task, task.by(pooled))["mrr@10"] > 0.5
    assert measure(task, by_chance())["mrr@10"] < 0.2


def test_validation_views_leave_test_videos_out() -> None:
    exam = Exam.of(unlabelled(), SPLITS, QUICK)
    views, task = exam.views("validation") or pytest.fail("no views")
    ids = np.array(exam.matrix.column("video_id"))
    assert not set(views.column("video_id")) & set(ids[exam.split.test])
    assert set(np.array(views.column("video_id"))[task.queries]) <= set(ids[exam.split.validation])


def test_without_held_out_videos_there_is_no_view_task() -> None:
    assert Exam.of(unlabelled(), SplitConfig(validation=0, test=0.3), QUICK).views("validation") is None
    one_source = feature_matrix(*(feature_row(f"v{n}", extra={"source": "one"}) for n in range(20)))
    exam = Exam.of(one_source, SplitConfig(test=0.99), QUICK)
    assert len(exam.split.test) == 20 and exam.views("test") is None


@pytest.fixture(scope="module")
def report() -> Evaluation:
    matrix = unlabelled()
    tower = VideoTower(TowerConfig(dim=16), DIMS)
    tower.fit_inputs({modality: vectors.values for modality, vectors in matrix.vectors.items()})
    return evaluate(tower, matrix, SPLITS, QUICK, rivals={"other": tower, "of other features": np.ones((60, 4))})


def test_an_unlabelled_catalog_is_evaluated_by_view_retrieval(report: Evaluation) -> None:
    section = report.sections["views"]
    assert list(report.sections) == ["views"] and report.videos == 60
    assert {"random", "mean-pooled .7 vis .3 txt", "untrained tower"} <= set(report.baselines) <= set(section.scores)
    assert section.scores["untrained tower"]["ndcg@10"].mean > section.scores["random"]["ndcg@10"].mean


def test_titles_which_both_views_share_and_embeddings_of_whole_videos_are_left_out(report: Evaluation) -> None:
    assert "TF-IDF titles" not in report.baselines
    assert "other" in report.sections["views"].scores and "of other features" not in report.sections["views"].scores


def test_the_report_says_what_could_not_be_measured(report: Evaluation) -> None:
    for text in (markdown(report), verdict(report, report.sections["views"])):
        assert "could therefore not be measured" in text
