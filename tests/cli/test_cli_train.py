"""What `rayreel train` reports before training, and which settings are part of a training's digest."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from chain import ROOT
from rayreel.catalog.interactions import SCHEMA
from rayreel.cli.steps.train import interactions_digest, training_digest
from rayreel.settings import load_settings


def job(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "jobs/train.py", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )


def digest(*sets: str, interactions: str = "none") -> str:
    return training_digest(load_settings(sets=sets), interactions)


@pytest.mark.parametrize(
    "changed",
    ["loss.kind=triplet", "pairs.label=1", "tower.dim=128", "train.seed=1", "splits.seed=1", "evaluation.history=5"],
)
def test_settings_that_change_a_tower_change_the_digest(changed: str) -> None:
    assert digest(changed) != digest()
    assert digest(interactions="some") != digest()


@pytest.mark.parametrize("changed", ["train.prefetch=0", "train.max_failures=9", "train.ingest=mapped", "index={}"])
def test_settings_that_only_change_the_execution_keep_the_digest(changed: str) -> None:
    assert digest(changed) == digest()


def test_the_digest_of_interactions_depends_only_on_their_content() -> None:
    row = {"user_id": "u", "video_id": "v", "timestamp": 0, "rating": None, "dwell_s": None}
    table = pa.Table.from_pylist([row, row | {"video_id": "w"}], schema=SCHEMA)
    assert interactions_digest(table) == interactions_digest(pa.concat_tables([table.slice(0, 1), table.slice(1)]))
    assert interactions_digest(table) != interactions_digest(table.slice(0, 1)) != interactions_digest(None)


def test_resume_accepts_no_settings(tmp_path: Path) -> None:
    failed = job("--resume", "last", "--epochs", "3", "--storage", str(tmp_path))
    assert failed.returncode == 1 and "settings that the run started with" in failed.stdout


def test_resuming_an_unknown_run_is_reported(tmp_path: Path) -> None:
    failed = job("--resume", "train-9", "--storage", str(tmp_path))
    assert failed.returncode == 1 and "train-9" in failed.stdout and "Traceback" not in failed.stdout + failed.stderr
