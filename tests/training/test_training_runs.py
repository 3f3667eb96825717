from pathlib import Path

import pytest

from rayreel.storage import Storage
from rayreel.training.runs import EncoderRun, NoSuchRun, TowerRun, find_run


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path)


def record(name: str) -> TowerRun:
    settings = {"train": {"epochs": 3}}
    return TowerRun(name=name, run_id=f"id-{name}", settings=settings, features="features", interactions="none")


def test_a_run_is_found_by_name(storage: Storage) -> None:
    record("train-1").write(storage)
    assert find_run(storage, "train-1", TowerRun) == record("train-1")


def test_last_is_the_newest_run_that_is_not_registered(storage: Storage) -> None:
    for name in ("train-1", "train-2", "train-3"):
        record(name).write(storage)
    record("train-3").done(storage, 7)
    assert find_run(storage, "last", TowerRun).name == "train-2"


def test_a_registered_run_cannot_be_resumed(storage: Storage) -> None:
    record("train-1").done(storage, 7)
    with pytest.raises(NoSuchRun, match="version 7"):
        find_run(storage, "train-1", TowerRun)
    with pytest.raises(NoSuchRun, match="no unfinished run"):
        find_run(storage, "last", TowerRun)


def test_an_unknown_run_is_rejected_with_the_existing_ones(storage: Storage) -> None:
    record("train-1").write(storage)
    with pytest.raises(NoSuchRun, match="train-1"):
        find_run(storage, "train-9", TowerRun)


def test_a_run_cannot_be_resumed_with_other_data(storage: Storage) -> None:
    record("train-1").check_unchanged(features="features", interactions="none")
    with pytest.raises(NoSuchRun, match="features have changed"):
        record("train-1").check_unchanged(features="others", interactions="none")
    with pytest.raises(NoSuchRun, match="interactions have changed"):
        record("train-1").check_unchanged(features="features", interactions="some")


def test_a_run_of_another_command_is_not_found(storage: Storage) -> None:
    record("train-1").write(storage)
    other = EncoderRun(
        name="train-action-1", run_id="id", settings={}, encoder="moves", catalog="clips", clips="digest"
    )
    other.write(storage)
    assert find_run(storage, "last", TowerRun).name == "train-1"
    assert find_run(storage, "last", EncoderRun).name == "train-action-1"
    with pytest.raises(NoSuchRun, match=r"Existing runs: train-1\."):
        find_run(storage, "train-action-1", TowerRun)
