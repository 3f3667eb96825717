import re
from pathlib import Path

import numpy as np
import pytest
import torch

from feature_rows import DIMS, clusters
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.evaluate import Evaluation, evaluate
from rayreel.evaluation.examples import Examples, examples_of
from rayreel.evaluation.metrics import NO_ITEM, Ranked
from rayreel.evaluation.report_page import looks_of, report_page
from rayreel.features.matrix import FeatureMatrix
from rayreel.media.clip import Clip, MediaFacts
from rayreel.media.pictures import Pictures
from rayreel.storage import Storage
from rayreel.tower.config import TowerConfig
from rayreel.tower.tower import VideoTower

QUICK = EvaluationConfig(ks=(1, 3, 10), neighbour_ks=(1, 5), bootstrap=100)


@pytest.fixture(scope="module")
def found() -> Evaluation:
    torch.manual_seed(7)
    return evaluate(VideoTower(TowerConfig(dim=32), DIMS), clusters(), SplitConfig(test=0.3), QUICK)


def examples(found: Evaluation) -> Examples:
    assert found.sections["neighbours"].examples is None
    made = found.sections["category"].examples
    assert made is not None
    return made


def test_the_page_has_tables_plots_and_training_curves_and_loads_nothing(found: Evaluation) -> None:
    html = report_page(found, "A <b>title</b>", training={"train/loss": [(0, 3.0), (1, 2.0)]})
    for text in ("category: metrics at k", "ndcg@10 by category", "confusion in the top results", "Training"):
        assert text in html
    score = found.sections["category"].scores["tower"]["ndcg@10"]
    assert f"{score.mean:.3f} [{score.low:.3f}, {score.high:.3f}]" in html
    assert "A &lt;b&gt;title" in html and "Best queries" not in html
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(?!data:)', html)


def test_best_and_worst_queries_are_shown_with_the_pictures_that_are_kept(found: Evaluation, tmp_path: Path) -> None:
    best = examples(found).best[0]
    row = clusters().column("video_id").index(best.query)
    hashes = [f"{n:064x}" for n in range(len(clusters()))]
    matrix = FeatureMatrix({}, clusters().rows.drop_columns("content_hash").append_column("content_hash", [hashes]))
    pictures = Pictures(Storage(tmp_path))
    assert not any(look.poster or look.sheet for look in looks_of(found, matrix, pictures).values())
    frames = np.random.default_rng(0).integers(0, 255, (4, 224, 224, 3), np.uint8)
    pictures.keep([Clip(frames, None, MediaFacts(1.0, 224, 224, 25.0, has_audio=False), hashes[row])])
    looks = looks_of(found, matrix, pictures)
    shown = looks[best.query]
    assert shown.sheet and shown.sheet in report_page(found, "t", looks)
    assert {i for i, look in looks.items() if look.poster} == {best.query}


def test_best_and_worst_queries_are_of_different_categories_and_in_order() -> None:
    ranked = Ranked(np.array([[4, 5], [5, NO_ITEM], [4, 5], [5, 4]]), np.zeros((4, 2), np.bool_), np.ones(4, np.int64))
    ids, categories = np.array(list("abcdef")), np.array(["x", "x", "y", "", "x", "y"])
    made = examples_of(np.arange(4), ranked, np.array([0.4, 0.3, 0.2, 0.1]), ids_N=ids, categories_N=categories, k=1)
    assert [example.query for example in made.best] == ["a", "c", "d", "b"]
    assert [example.query for example in made.worst] == ["d", "c", "b", "a"]
    assert made.best[-1].results == ["f"] and made.best[-1].hits == [False]
    assert made.confusion == {"x": {"x": 0.5, "y": 0.5}, "y": {"x": 1.0}}
