import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, precision_score, recall_score

from rayreel.evaluation.classification import Classified, ClassReport, classification
from rayreel.evaluation.classification_page import (
    class_bars,
    class_table,
    classification_markdown,
    classification_page,
    confusion_map,
    confusion_table,
    learning_curves,
    summary,
)

CLASSES = ("archery", "bowling", "crawling", "diving")
COUNTS = dict.fromkeys(CLASSES, (3, 2, 1))
HISTORY = {
    f"{part}/{metric}": [(epoch, 0.1 * epoch) for epoch in range(4)]
    for part in ("train", "validation")
    for metric in ("loss", "accuracy")
}


def classified(labels: list[int], predicted: list[int], groups: str = "") -> Classified:
    ids = [f"clip{number}" for number in range(len(labels))]
    return Classified("test", CLASSES, ids, list(groups) or ids, np.array(labels), np.array(predicted))


@pytest.fixture(scope="module")
def report() -> ClassReport:
    """Three archery clips, of which one is taken for bowling; one of two for crawling; no diving clips."""
    return classification(classified([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2], groups="aabbcd"), most_frequent=1)


def test_the_scores_equal_scikit_learns() -> None:
    random = np.random.default_rng(0)
    labels, predicted = random.integers(0, 3, 200), random.integers(0, 3, 200)
    found = classification(classified(labels.tolist(), predicted.tolist()), most_frequent=0)
    assert found.accuracy.mean == pytest.approx(accuracy_score(labels, predicted))
    assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert found.macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro"))
    for score, metric in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        expected = metric(labels, predicted, average=None)
        assert [getattr(row, score) for row in found.classes[:3]] == pytest.approx(expected.tolist())


def test_rows_of_the_confusion_matrix_are_true_classes(report: ClassReport) -> None:
    assert report.confusion == [[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert [(row.videos, row.recognised) for row in report.classes] == [(3, 2), (2, 1), (1, 1), (0, 0)]
    assert report.most_frequent == pytest.approx(2 / 6)
    assert report.mistakes == [
        {"video_id": "clip2", "class": "archery", "predicted": "bowling"},
        {"video_id": "clip4", "class": "bowling", "predicted": "crawling"},
    ]


def test_scores_of_a_class_without_clips_and_predictions_are_undefined(report: ClassReport) -> None:
    last = report.classes[-1]
    assert (last.precision, last.recall, last.f1) == (None, None, None)
    never = classification(classified([0, 0, 1], [0, 0, 0]), most_frequent=0).classes[1]
    assert (never.precision, never.recall, never.f1) == (None, 0.0, 0.0)
    assert report.balanced_accuracy == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)


def test_the_interval_is_over_recordings_and_not_clips() -> None:
    labels, predicted = [0] * 40, [0] * 20 + [1] * 20
    of_clips = classification(classified(labels, predicted), most_frequent=0).accuracy
    of_groups = classification(classified(labels, predicted, groups="a" * 20 + "b" * 20), most_frequent=0).accuracy
    assert of_clips.low is not None and 0.3 < of_clips.low < 0.4
    assert (of_groups.low, of_groups.high) == (0, 1)
    assert classification(classified([0, 0], [0, 1], groups="aa"), most_frequent=0).accuracy.low is None


def test_the_tables_have_a_row_for_each_class(report: ClassReport) -> None:
    assert class_table(report, COUNTS).rows[0] == ["archery", "3", "2", "1", "1.000", "0.667", "0.800"]
    assert class_table(report, COUNTS).rows[3][4:] == ["undefined"] * 3
    assert confusion_table(report).rows[1] == ["bowling", "0", "1", "1", "0"]
    text = classification_markdown(report, COUNTS, "Encoder moves")
    assert text.startswith("# Encoder moves") and summary(report) in text and "| crawling | 0 | 0 | 1 | 0 |" in text
    assert "6 test clips of 4 recordings: 0.667 [" in summary(report)


def test_the_page_shows_every_class_and_both_curves(report: ClassReport) -> None:
    page = classification_page(report, HISTORY, best=2, about="Encoder <moves>")
    assert "Encoder &lt;moves&gt;" in page and "<moves>" not in page
    assert page.count("Plotly.newPlot(") == 3
    assert all(f'"{name}"' in page and f"{name} (" in page for name in CLASSES)


def test_the_matrix_and_the_bars_have_the_reports_numbers(report: ClassReport) -> None:
    (cells,) = confusion_map(report).data
    assert cells.x == cells.y == CLASSES
    assert [list(row) for row in cells.text] == report.confusion
    assert list(cells.z[0]) == pytest.approx([2 / 3, 1 / 3, 0, 0])
    precision, recall = class_bars(report).data
    assert list(recall.x) == [row.recall for row in report.classes]
    assert list(precision.y) == ["archery (3)", "bowling (2)", "crawling (1)", "diving (0)"]


def test_the_curves_are_those_of_training_and_validation_and_mark_the_best_epoch() -> None:
    figure = learning_curves(HISTORY, best=2)
    assert [line.name for line in figure.data] == ["train", "validation"] * 2
    assert all(list(line.x) == [0, 1, 2, 3] for line in figure.data)
    assert {line.x0 for line in figure.layout.shapes} == {2}


def test_many_classes_have_no_numbers_in_their_cells() -> None:
    many = tuple(f"class{number:03d}" for number in range(101))
    labels = np.arange(101)
    found = Classified("test", many, [str(row) for row in labels], [str(row) for row in labels], labels, labels)
    (cells,) = confusion_map(classification(found, most_frequent=0)).data
    assert cells.texttemplate is None and len(cells.y) == 101
