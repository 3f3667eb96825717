"""What jobs/train.py says before anything is trained, and what makes two trainings one."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from chain import ROOT
from rayreel.catalog.interactions import SCHEMA
from rayreel.settings import load_settings
from train import interactions_digest, training_digest


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
def test_whatever_changes_a_tower_changes_the_digest(changed: str) -> None:
    assert digest(changed) != digest()
    assert digest(interactions="some") != digest()


@pytest.mark.parametrize("changed", ["train.prefetch=0", "train.max_failures=9", "train.ingest=mapped", "index={}"])
def test_where_and_how_safely_a_tower_is_trained_does_not(changed: str) -> None:
    assert digest(changed) == digest()


def test_interactions_have_a_digest_of_their_content() -> None:
    row = {"user_id": "u", "video_id": "v", "timestamp": 0, "rating": None, "dwell_s": None}
    table = pa.Table.from_pylist([row, row | {"video_id": "w"}], schema=SCHEMA)
    assert interactions_digest(table) == interactions_digest(pa.concat_tables([table.slice(0, 1), table.slice(1)]))
    assert interactions_digest(table) != interactions_digest(table.slice(0, 1)) != interactions_digest(None)


def test_a_run_is_resumed_with_its_own_settings_only(tmp_path: Path) -> None:
    failed = job("--resume", "last", "--epochs", "3", "--storage", str(tmp_path))
    assert failed.returncode == 1 and "settings that the run began with" in failed.stdout


def test_resuming_what_is_not_there_says_what_is(tmp_path: Path) -> None:
    failed = job("--resume", "train-9", "--storage", str(tmp_path))
    assert failed.returncode == 1 and "train-9" in failed.stdout and "Traceback" not in failed.stdout + failed.stderr
