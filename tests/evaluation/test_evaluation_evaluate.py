import json
from html import escape

import numpy as np
import pyarrow as pa
import pytest
import torch

from feature_rows import DIMS, clusters, feature_matrix, feature_row
from rayreel.encoders.encoder import Modality
from rayreel.errors import RayreelError
from rayreel.evaluation import report
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.evaluate import Evaluation, evaluate
from rayreel.evaluation.frozen import FROM_LABELS, FROZEN, RERANKED, WITHOUT_LABELS
from rayreel.evaluation.report_page import report_page
from rayreel.evaluation.resampling import holm
from rayreel.evaluation.splits import groups_of, split_groups
from rayreel.tower.config import TowerConfig
from rayreel.tower.embed import embed
from rayreel.tower.tower import VideoTower
from watching import watched

SPLITS = SplitConfig(test=0.3)
QUICK = EvaluationConfig(ks=(1, 3, 10), neighbour_ks=(1, 5), bootstrap=400)
MEAN_POOLED = "mean-pooled .7 vis .3 txt"


@pytest.fixture(scope="module")
def tower() -> VideoTower:
    torch.manual_seed(7)
    return VideoTower(TowerConfig(dim=32), DIMS)


def viewers() -> pa.Table:
    """Each of 80 users watches videos of one category of `clusters()`."""
    rng = np.random.default_rng(0)
    watches = []
    for user in range(80):
        liked = rng.permutation(np.arange(user % 4, 100, 4))[:12]
        watches += [(f"u{user}", f"v{row:03}", float(rng.integers(10**6))) for row in liked]
    return watched(*watches)


@pytest.fixture(scope="module")
def found(tower: VideoTower) -> Evaluation:
    return evaluate(tower, clusters(tags=["all"]), SPLITS, QUICK, viewers())


def mean(found: Evaluation, section: str, method: str, metric: str = "ndcg@10") -> float:
    return found.sections[section].scores[method][metric].mean


def test_the_tower_beats_random_scores_on_clear_clusters(found: Evaluation) -> None:
    assert mean(found, "category", "tower") > 0.95 and mean(found, "category", MEAN_POOLED) > 0.95
    assert mean(found, "category", "random") == pytest.approx(24 / 99, abs=0.12)
    assert mean(found, "neighbours", "tower", "hit_rate@1") > 0.95


def test_the_tower_is_the_last_row_and_all_methods_have_the_same_metrics(found: Evaluation) -> None:
    content = {"random", "popularity", "TF-IDF titles", "visual alone", "audio alone", "text alone"}
    content |= {MEAN_POOLED, "untrained tower", FROZEN, *WITHOUT_LABELS, *FROM_LABELS}
    ablations = {"tower, visual only", "tower, visual+audio only"}
    for name, section in found.sections.items():
        of_users = {"item-kNN", "matrix factorisation", "EASE", "tower, interests"}
        users = of_users if name.startswith("users") else set()
        assert set(section.scores) == content | users | ablations | {"tower"}, name
        assert list(section.scores)[-1] == "tower"
        assert len({frozenset(row) for row in section.scores.values()}) == 1
        assert set(section.versus) == set(section.scores) - {"tower"}


def test_every_protocol_that_the_data_allow_is_reported(found: Evaluation) -> None:
    assert list(found.sections) == [
        *("category", "tags", "co_watch", "neighbours", "users", "users, warm", "users, cold"),
    ]
    assert list(found.sections["neighbours"].scores["tower"]) == ["hit_rate@1", "hit_rate@5"]


def test_only_the_configured_relevance_is_evaluated(tower: VideoTower) -> None:
    quick = QUICK.model_copy(update={"relevance": ("tags",)})
    assert list(evaluate(tower, clusters(tags=["all"]), SPLITS, quick).sections) == ["tags", "neighbours"]


def test_only_held_out_videos_are_queries_and_all_videos_are_candidates(found: Evaluation) -> None:
    matrix = clusters()
    held_out = split_groups(groups_of(matrix, SPLITS), SPLITS).test
    category = found.sections["category"]
    assert category.queries == found.held_out == len(held_out)
    assert category.candidates == found.videos == len(matrix)
    assert found.sections["neighbours"].candidates < len(matrix)


def test_warm_and_cold_targets_are_separate_and_only_content_finds_cold_ones(found: Evaluation) -> None:
    all_queries, warm, cold = (found.sections[name] for name in ("users", "users, warm", "users, cold"))
    assert warm.queries > 5 and cold.queries > 5 and warm.queries + cold.queries <= all_queries.queries
    for method in ("popularity", "item-kNN", "matrix factorisation", "EASE"):
        assert mean(found, "users, cold", method, "recall@10") < 0.1
    assert mean(found, "users, cold", "tower", "recall@10") > 0.3
    assert mean(found, "users, warm", "item-kNN", "recall@10") > 0.5


def test_a_clear_lead_is_significant_and_a_tie_is_not(found: Evaluation) -> None:
    versus = found.sections["category"].versus
    assert versus["random"]["ndcg@10"].p < 0.1 and versus["random"]["ndcg@10"].low > 0.5
    assert versus[MEAN_POOLED]["ndcg@10"].p == 1
    for section in found.sections.values():
        for row in section.scores.values():
            for score in row.values():
                if score.low is not None and score.high is not None:
                    assert score.low <= score.mean + 1e-9 <= score.high + 2e-9


def test_lists_have_coverage_diversity_and_popularity(found: Evaluation) -> None:
    row = found.sections["users"].scores
    assert row["popularity"]["popularity@10"].mean > 0.9 > 0.6 > row["random"]["popularity@10"].mean  # noqa: PLR0133
    assert row["popularity"]["coverage@10"].mean < 0.3 < row["random"]["coverage@10"].mean
    assert row["tower"]["diversity@10"].mean < 0.2 < row["random"]["diversity@10"].mean


def test_without_interactions_there_is_no_popularity(tower: VideoTower) -> None:
    bare = evaluate(tower, clusters(), SPLITS, QUICK)
    assert list(bare.sections) == ["category", "neighbours"]
    assert "popularity" not in bare.sections["category"].scores
    assert "popularity@10" not in bare.sections["category"].scores["tower"]


def test_a_modality_that_no_video_has_is_not_a_baseline(tower: VideoTower) -> None:
    matrix = clusters()
    silent = matrix.vectors[Modality.AUDIO].__class__(
        matrix.vectors[Modality.AUDIO].values[:0], np.zeros(len(matrix) + 1, np.int64)
    )
    mute = matrix.__class__(matrix.vectors | {Modality.AUDIO: silent}, matrix.rows)
    assert "audio alone" not in evaluate(tower, mute, SPLITS, QUICK).baselines


def test_queries_of_the_validation_part_are_validation_videos(tower: VideoTower) -> None:
    matrix = clusters()
    split = split_groups(groups_of(matrix, SPLITS), SPLITS)
    chosen = evaluate(tower, matrix, SPLITS, QUICK, part="validation")
    assert chosen.held_out == chosen.sections["category"].queries == len(split.validation)
    assert chosen.sections["category"].candidates == len(matrix) - len(split.test)


def test_rivals_are_in_the_same_tables(tower: VideoTower) -> None:
    rivals = {"the same again": tower}
    section = evaluate(tower, clusters(), SPLITS, QUICK, rivals=rivals).sections["category"]
    assert section.scores["the same again"] == section.scores["tower"]
    assert section.versus["the same again"]["ndcg@10"].p == 1


def test_a_rival_can_be_given_as_embeddings(tower: VideoTower) -> None:
    rivals = {"the same again": embed(tower, clusters())}
    section = evaluate(tower, clusters(), SPLITS, QUICK, rivals=rivals).sections["category"]
    assert section.scores["the same again"] == section.scores["tower"]


def test_a_report_is_reproducible(tower: VideoTower, found: Evaluation) -> None:
    again = evaluate(tower, clusters(tags=["all"]), SPLITS, QUICK, viewers())
    for name, section in again.sections.items():
        for method in set(section.scores) - {"matrix factorisation"}:
            assert section.scores[method] == found.sections[name].scores[method]


def test_a_catalog_without_categories_is_rejected_with_a_remedy(tower: VideoTower) -> None:
    matrix = feature_matrix(*(feature_row(f"v{n}", frames=1, windows=1) for n in range(20)))
    with pytest.raises(RayreelError, match=r"category column.*--interactions.*splits\.test=") as caught:
        evaluate(tower, matrix, SPLITS, QUICK)
    assert f"of {len(split_groups(groups_of(matrix, SPLITS), SPLITS).test)} held-out videos" in str(caught.value)


def test_a_table_cutoff_that_is_not_among_the_cutoffs_is_rejected() -> None:
    with pytest.raises(ValueError, match="at = 10 is not in ks"):
        EvaluationConfig(ks=(1, 5))


def test_flat_metrics_are_named_by_section_method_and_metric(found: Evaluation) -> None:
    assert found.flat["category/tower/recall@10"] == mean(found, "category", "tower", "recall@10")
    assert found.flat["neighbours/tower/hit_rate@5"] == mean(found, "neighbours", "tower", "hit_rate@5")
    assert "category/tower/recall@3" not in found.flat


def test_the_markdown_has_a_table_and_a_verdict_for_every_section(found: Evaluation) -> None:
    text = report.markdown(found)
    for name, section in found.sections.items():
        assert f"## {name}\n" in text and report.verdict(found, section) in text
        assert f"| {section.scores['tower'][section.headline].mean:.3f} [" in text.replace("**", "")
    assert all(line.count("|") > 3 for line in text.splitlines() if line.startswith("|"))


def test_the_best_of_a_column_is_marked_including_ties_except_for_list_metrics(found: Evaluation) -> None:
    users = found.sections["users"]
    table, _ = report.tables_of(found, users)
    scores = [row for method, row in users.scores.items() if method not in users.few_lines]
    best = max(row["ndcg@10"].mean for row in scores)
    assert table.best[1] == {n for n, row in enumerate(scores) if row["ndcg@10"].mean == best}
    marked = dict(zip(table.heads, table.best, strict=True))
    assert marked["pop@10"] == marked["cov@10"] == marked["div@10"] == marked["method"] == set()


def test_what_a_few_lines_reach_has_a_table_of_its_own_with_the_chosen_settings(found: Evaluation) -> None:
    main, few = report.tables_of(found, found.sections["category"])
    assert [row[0] for row in few.rows] == [*WITHOUT_LABELS, *FROM_LABELS, FROZEN, "tower"]
    assert RERANKED not in {row[0] for row in main.rows} and main.rows[-1][0] == "tower"
    chosen = dict(zip((row[0] for row in few.rows), (row[few.heads.index("chosen")] for row in few.rows), strict=True))
    assert chosen[RERANKED].startswith("k1 ") and chosen["tower"] == ""


def test_p_values_are_adjusted_for_the_methods_of_a_table(found: Evaluation) -> None:
    section = found.sections["category"]
    p = {method: versus["ndcg@10"] for method, versus in section.versus.items()}
    families = ([m for m in p if m in section.few_lines], [m for m in p if m not in section.few_lines])
    for family in families:
        assert [p[m].p for m in family] == pytest.approx(holm([p[m].p_alone for m in family]))


def test_the_verdict_claims_only_significant_leads(found: Evaluation) -> None:
    verdict = report.verdict(found, found.sections["category"])
    beaten, rest = verdict.split(";")
    assert "category, nDCG@10: the tower beats random" in beaten
    assert MEAN_POOLED in rest and "no significant difference" in rest and "tower, visual" not in verdict


def test_the_report_can_be_serialised_to_json(found: Evaluation) -> None:
    tree = json.loads(json.dumps(report.as_json(found)))
    row = tree["sections"]["users"]["scores"]["item-kNN"]["recall@3"]
    assert row["mean"] == mean(found, "users", "item-kNN", "recall@3") and row["low"] <= row["mean"] <= row["high"]


def test_the_category_map_has_the_mean_of_each_categorys_queries(found: Evaluation) -> None:
    rows = found.sections["category"].by_category
    assert set(rows["tower"]) == {"c0", "c1", "c2", "c3"} and list(rows)[-1] == "tower"
    assert np.mean(list(rows["random"].values())) == pytest.approx(mean(found, "category", "random"), abs=0.1)


def test_the_report_warns_of_titles_that_name_the_category(tower: VideoTower) -> None:
    rows = [feature_row(f"v{n}", category=f"chess{'ab'[n % 2]}", title=f"chess{'ab'[n % 2]} {n}") for n in range(60)]
    found = evaluate(tower, feature_matrix(*rows), SPLITS, QUICK)
    (warning,) = report.warnings(found)
    assert "titles predict 100 %" in warning.replace("%", " %")
    assert "## Leaks" in report.markdown(found) and warning in report.markdown(found)
    assert json.loads(json.dumps(report.as_json(found)))["leaks"][0]["warning"] in warning
    assert escape(warning) in report_page(found, "")
