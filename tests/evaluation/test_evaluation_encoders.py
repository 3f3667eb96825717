"""The comparison of encoders: its numbers are the evaluation's own, and its recommendations follow from its table."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from feature_rows import clusters_table, feature_row, feature_table
from rayreel.encoders.encoder import Modality
from rayreel.encoders.known import KnownEncoder
from rayreel.errors import RayreelError
from rayreel.evaluation import encoder_report
from rayreel.evaluation.choosing import challenge, choose
from rayreel.evaluation.comparison import Versus
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.content import fitted, standardised
from rayreel.evaluation.encoders import EncoderFeatures, aligned, compare_encoders
from rayreel.evaluation.exam import Exam, Protocol
from rayreel.evaluation.retrieval import measure
from rayreel.features.matrix import FeatureMatrix

SPLITS = SplitConfig(validation=0.3, test=0.7)
CONFIG = EvaluationConfig(bootstrap=200)
CLOSE, WIDE = clusters_table(4, 20, spread=1.0), clusters_table(4, 20, spread=6.0)


def encoder(name: str, modality: Modality, cost_ms: float, table: object = WIDE) -> EncoderFeatures:
    matrix = FeatureMatrix.from_table(table).with_modalities([modality])
    return EncoderFeatures(KnownEncoder(modality, name, 12, "MIT"), matrix, cost_ms)


GOOD = encoder("good", Modality.VISUAL, 20.0, CLOSE)
CHEAP = encoder("cheap", Modality.VISUAL, 5.0)
WORDS = encoder("words", Modality.TEXT, 1.0)


def test_the_numbers_of_the_table_are_those_of_the_evaluation() -> None:
    found = compare_encoders([GOOD, CHEAP, WORDS], SPLITS, CONFIG)
    matrix = GOOD.matrix
    exam = Exam.of(matrix, SPLITS, CONFIG)
    visual = matrix.vectors[Modality.VISUAL]
    unit_ND = standardised(visual, fitted(visual, exam.candidates("validation")))
    task = exam.task(Protocol.CATEGORY, "test")
    assert task is not None
    own = measure(task, task.by(unit_ND), [1, 10])
    scores = found.sections["category"].scores["visual:good"]
    assert scores["ndcg@10"].mean == pytest.approx(own["ndcg@10"])
    assert scores["hit_rate@1"].mean == pytest.approx(own["hit_rate@1"])
    table = encoder_report.table_of(found, "core-ms")
    row = next(row for row in table.rows if row[1] == "visual:good")
    assert row[2] == "20.00" and row[3].startswith(f"{own['ndcg@10']:.3f} [") and row[4] == f"{own['hit_rate@1']:.3f}"
    assert row[6] == f"{visual.values.nbytes / len(matrix):,.0f}" and row[7] == "MIT"


def test_a_combination_has_validated_weights_and_the_sum_of_the_costs() -> None:
    found = compare_encoders([GOOD, CHEAP, WORDS], SPLITS, CONFIG, budgets_ms=[8.0])
    combined = {tuple(one.weights): one for one in found.contenders if len(one.weights) > 1}
    assert set(combined) == {("visual:good", "text:words"), ("visual:cheap", "text:words")}
    both = combined["visual:good", "text:words"]
    assert both.cost_ms == 21.0 and sum(both.weights.values()) == pytest.approx(1)
    assert both.weights["visual:good"] > both.weights["text:words"], "the better encoder weighs more"
    assert [one.cost_ms for one in found.contenders] == sorted(one.cost_ms for one in found.contenders)


def test_the_recommendation_depends_on_the_budget() -> None:
    found = compare_encoders([GOOD, CHEAP, WORDS], SPLITS, CONFIG, budgets_ms=[0.5, 8.0])
    nothing, small, none = found.choices
    assert nothing.name is None and "text:words, costs 1.0 ms" in nothing.reason
    assert small.budget_ms == 8.0 and small.name != "visual:good"
    assert none.budget_ms is None and none.name is not None and "visual:good" in none.name
    assert "p 0.0" in none.reason


def test_encoders_are_compared_by_views_where_nothing_else_is_known() -> None:
    unlabelled = [replace(one, matrix=_without_labels(one.matrix)) for one in (GOOD, CHEAP)]
    found = compare_encoders(unlabelled, SPLITS, CONFIG)
    assert found.deciding == "views" and set(found.sections) == {"views"}
    assert {one.name for one in found.contenders} == {"visual:good", "visual:cheap"}


def test_only_videos_that_all_encoders_have_are_compared() -> None:
    some, others = (feature_table(*(feature_row(f"v{n}") for n in numbers)) for numbers in ((1, 2, 3), (2, 3, 4)))
    assert [table["video_id"].to_pylist() for table in aligned([some, others])] == [["v2", "v3"], ["v2", "v3"]]
    with pytest.raises(RayreelError, match="No video has features of all encoders"):
        aligned([some, feature_table(feature_row("v9"))])


def test_the_page_has_the_plot_the_table_and_what_was_left_out() -> None:
    found = compare_encoders([CHEAP, WORDS], SPLITS, CONFIG)
    page = encoder_report.page(found, "core-ms", [("audio:<gone>", "no weights")])
    assert "Plotly.newPlot" in page and "core-ms per video" in page and "<td>text:words</td>" in page
    assert "audio:&lt;gone&gt;: no weights" in page


def versus_of(means: dict[str, float], p: float = 0.001) -> Callable[[str, str], Versus]:
    def compared(name: str, other: str) -> Versus:
        difference = means[name] - means[other]
        return Versus(difference, difference - 0.01, difference + 0.01, p, p)

    return compared


MEANS = {"a": 0.5, "b": 0.3, "c": 0.4, "d": 0.6}
COSTS = {"d": 40.0, "a": 1.0, "c": 3.0, "b": 2.0}


def test_each_is_compared_with_the_best_cheaper_one_and_not_with_its_neighbour() -> None:
    found = challenge(COSTS, versus_of(MEANS))
    assert [(one.name, one.against, one.better) for one in found] == [
        ("a", None, True),
        ("b", "a", False),
        ("c", "a", False),  # better than b, but not than a
        ("d", "a", True),
    ]
    assert found[3].versus is not None and found[3].versus.p == pytest.approx(0.003), "adjusted for three comparisons"


def test_a_lead_that_may_be_chance_is_no_reason_to_pay_more() -> None:
    found = challenge(COSTS, versus_of(MEANS, p=0.02))
    chosen = choose(found, MEANS, None)
    assert chosen.name == "a" and "the highest mean, 0.600 of d, is no significant lead" in chosen.reason


@pytest.mark.parametrize(("budget_ms", "expected"), [(0.5, None), (1.0, "a"), (39.0, "a"), (40.0, "d"), (None, "d")])
def test_the_choice_is_the_last_significantly_better_one_within_the_budget(
    budget_ms: float | None, expected: str | None
) -> None:
    assert choose(challenge(COSTS, versus_of(MEANS)), MEANS, budget_ms).name == expected


def _without_labels(matrix: FeatureMatrix) -> FeatureMatrix:
    rows, empty = matrix.rows, np.full(len(matrix), "").tolist()
    return FeatureMatrix(matrix.vectors, rows.set_column(rows.column_names.index("category"), "category", [empty]))
