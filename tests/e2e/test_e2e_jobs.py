"""Errors and help texts of jobs."""

from pathlib import Path

import pytest

from chain import ROOT
from scripts import run_script

JOBS = ("sample", "extract", "train", "evaluate", "promote", "index", "serve", "quickstart")


@pytest.mark.parametrize("name", JOBS)
def test_every_job_has_a_help_text(name: str) -> None:
    shown = run_script(f"jobs/{name}.py", "--help")
    assert shown.returncode == 0
    for word in ("--config", "--set", "--storage", "train.epochs"):
        assert word in shown.stdout, word


def test_training_without_features_names_the_job_to_run_first(tmp_path: Path) -> None:
    cache = f"encoders.cache_dir={ROOT / '.rayreel-test' / 'weights'}"
    failed = run_script("jobs/train.py", "--storage", str(tmp_path), "--set", cache)
    assert failed.returncode == 1 and "NoFeatures" in failed.stdout and "jobs/extract.py" in failed.stdout
    assert "Traceback" not in failed.stdout + failed.stderr


def test_a_missing_catalog_is_named(tmp_path: Path) -> None:
    failed = run_script("jobs/extract.py", "--catalog", str(tmp_path / "none.csv"), "--storage", str(tmp_path))
    assert failed.returncode == 1 and "none.csv" in failed.stdout


def test_an_unknown_setting_lists_the_known_ones(tmp_path: Path) -> None:
    failed = run_script("jobs/train.py", "--storage", str(tmp_path), "--set", "train.epoch=3")
    assert failed.returncode == 1 and "train.epoch" in failed.stdout and "epochs" in failed.stdout


def test_evaluating_before_training_is_an_error(tmp_path: Path) -> None:
    failed = run_script("jobs/evaluate.py", "--storage", str(tmp_path))
    assert failed.returncode == 1 and "jobs/train.py" in failed.stdout
