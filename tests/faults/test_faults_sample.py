"""The rendered sample teaches: what a tower learns from more, it finds better. Measured with the product's commands."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from chain import ROOT
from processes import kill_marked
from ray_here import short_folder
from rayreel.cli.steps.quickstart import SAMPLE_SETTINGS
from train_run import CACHE

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]

POOLED, UNTRAINED = "mean-pooled .7 vis .3 txt", "untrained tower"
VIEWS = "pairs.co_watched=0, pairs.label=0, seed 0"


@pytest.fixture(scope="module")
def sections(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The sections of a sweep on the default sample, over what towers learn from; `tower` is the best on validation."""
    storage = tmp_path_factory.mktemp("sample")
    own = ("RAY_", "RAYREEL_", "MLFLOW_", "MILVUS_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(own)}

    def run(*words: str) -> Any:  # noqa: ANN401
        command = [sys.executable, *words, "--storage", str(storage), "--set", CACHE, "--json"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    with short_folder() as ray_folder:
        environment = kept | {"RAY_ADDRESS": "local", "RAY_TMPDIR": ray_folder, "OMP_NUM_THREADS": "1"}
        environment["RAY_AUTH_TOKEN_PATH"] = f"{ray_folder}/auth_token"
        try:
            sample = run("jobs/sample.py")
            run("jobs/extract.py", "--catalog", sample["catalog"])
            lesson = [word for setting in SAMPLE_SETTINGS for word in ("--set", setting)]
            grid = ("--grid", "pairs.co_watched=0,1", "--grid", "pairs.label=0,1")
            swept = run("jobs/sweep.py", *lesson, *grid, "--interactions", sample["interactions"])
            yield swept["evaluation"]["sections"]
        finally:
            kill_marked(ray_folder)


def ndcg(section: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return mean and interval by method."""
    return {method: row["ndcg@10"] for method, row in section["scores"].items()}


def test_category_search_improves_with_what_the_tower_learns_from(sections: dict[str, Any]) -> None:
    scores = ndcg(sections["category"])
    steps = [scores[method]["mean"] for method in (POOLED, UNTRAINED, VIEWS, "tower")]
    assert steps == sorted(steps)
    assert scores["random"]["high"] < scores[POOLED]["low"]
    assert scores[POOLED]["high"] < scores["tower"]["low"]
    assert scores["tower"]["mean"] < 0.98


def test_co_watching_predicts_what_content_does_not(sections: dict[str, Any]) -> None:
    scores = ndcg(sections["users"])
    steps = [scores[method]["mean"] for method in ("popularity", POOLED, "tower")]
    assert steps == sorted(steps)
    assert scores["popularity"]["high"] < scores["tower"]["low"]
    assert scores["tower"]["mean"] > scores["matrix factorisation"]["mean"]


def test_videos_without_views_can_be_recommended(sections: dict[str, Any]) -> None:
    scores = ndcg(sections["users, cold"])
    assert scores["matrix factorisation"]["mean"] == 0
    assert scores["tower"]["low"] > 0
