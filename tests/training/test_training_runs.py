from pathlib import Path

import pytest

from rayreel.storage import Storage
from rayreel.training.runs import NoSuchRun, RunRecord, check_unchanged, find_run


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path)


def record(name: str) -> RunRecord:
    return RunRecord(name, f"id-{name}", {"train": {"epochs": 3}}, "features", "none")


def test_a_run_is_found_by_name(storage: Storage) -> None:
    record("train-1").write(storage)
    assert find_run(storage, "train-1") == record("train-1")


def test_last_is_the_newest_run_that_is_not_registered(storage: Storage) -> None:
    for name in ("train-1", "train-2", "train-3"):
        record(name).write(storage)
    record("train-3").done(storage, 7)
    assert find_run(storage, "last").name == "train-2"


def test_a_registered_run_cannot_be_resumed(storage: Storage) -> None:
    record("train-1").done(storage, 7)
    with pytest.raises(NoSuchRun, match="version 7"):
        find_run(storage, "train-1")
    with pytest.raises(NoSuchRun, match="no unfinished run"):
        find_run(storage, "last")


def test_an_unknown_run_is_rejected_with_the_existing_ones(storage: Storage) -> None:
    record("train-1").write(storage)
    with pytest.raises(NoSuchRun, match="train-1"):
        find_run(storage, "train-9")


def test_a_run_cannot_be_resumed_with_other_data(storage: Storage) -> None:
    check_unchanged(record("train-1"), "features", "none")
    with pytest.raises(NoSuchRun, match="features have changed"):
        check_unchanged(record("train-1"), "others", "none")
    with pytest.raises(NoSuchRun, match="interactions have changed"):
        check_unchanged(record("train-1"), "features", "some")
