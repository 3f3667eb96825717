import numpy as np
import pytest
import torch

from feature_rows import DIMS, clusters, feature_matrix, feature_row
from rayreel.errors import RayreelError
from rayreel.evaluation.evaluate import evaluate, untrained
from rayreel.evaluation.splits import SplitConfig, groups_of, split_groups
from rayreel.tower.embed import embed
from rayreel.tower.tower import TowerConfig, VideoTower

SPLITS = SplitConfig(test=0.3)


@pytest.fixture
def tower() -> VideoTower:
    torch.manual_seed(7)
    return VideoTower(TowerConfig(dim=32), DIMS)


def test_on_clear_clusters_the_tower_finds_what_chance_does_not(tower: VideoTower) -> None:
    found = evaluate(tower, clusters(), SPLITS)
    assert found.scores["tower"]["ndcg@10"] > 0.95
    assert found.scores["mean-pooled .7 vis .3 txt"]["ndcg@10"] > 0.95
    assert found.scores["random"]["ndcg@10"] == pytest.approx(24 / 99, abs=0.12)


def test_the_tower_stands_behind_every_baseline_with_the_same_metrics(tower: VideoTower) -> None:
    scores = evaluate(tower, clusters(), SPLITS, ks=(3,)).scores
    assert list(scores)[-1] == "tower"
    assert {"random", "TF-IDF titles", "untrained tower"} <= set(scores)
    assert all(set(row) == {"recall@3", "precision@3", "ndcg@3"} for row in scores.values())


def test_only_held_out_videos_are_queries_and_all_videos_are_candidates(tower: VideoTower) -> None:
    matrix = clusters()
    found = evaluate(tower, matrix, SPLITS)
    held_out = split_groups(groups_of(matrix, SPLITS), SPLITS).test
    assert found.queries == found.held_out == len(held_out)
    assert found.candidates == len(matrix)


def test_the_flat_form_names_method_and_metric(tower: VideoTower) -> None:
    found = evaluate(tower, clusters(), SPLITS)
    assert found.flat["tower/recall@5"] == found.scores["tower"]["recall@5"]


def test_a_catalog_without_categories_cannot_be_evaluated_and_says_what_to_do(tower: VideoTower) -> None:
    matrix = feature_matrix(*(feature_row(f"v{n}") for n in range(20)))
    with pytest.raises(RayreelError, match=r"category column.*splits\.test=") as caught:
        evaluate(tower, matrix, SPLITS)
    assert f"of {len(split_groups(groups_of(matrix, SPLITS), SPLITS).test)} held-out videos" in str(caught.value)


def test_an_untrained_tower_is_the_same_every_time_and_leaves_randomness_alone(tower: VideoTower) -> None:
    matrix = clusters(each=3)
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first, second = embed(untrained(tower), matrix), embed(untrained(tower), matrix)
    torch.testing.assert_close(torch.rand(1), expected)
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, embed(tower, matrix))
