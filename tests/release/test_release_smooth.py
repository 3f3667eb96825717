"""Averaging the vectors of a release: exact, also after changes, which cost no more than the rows near to them."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from rayreel.release import smooth as module
from rayreel.release.rows import ROWS, ReleaseRows, embeddings, own_embeddings, tombstones
from rayreel.release.smooth import smooth_rows
from rayreel.storage import Storage
from rayreel.tower.config import Smoothing
from rayreel.tower.smoothing import smoothed
from release_rows import release_row, release_table, unit

FIVE = Smoothing(neighbours=5, alpha=1)
IDS = [f"v{number:03}" for number in range(200)]


@pytest.fixture
def rows(tmp_path: Path) -> ReleaseRows:
    """The rows of 200 videos."""
    rows = ReleaseRows(Storage(tmp_path), 1)
    put(rows, IDS)
    return rows


def put(rows: ReleaseRows, ids: Iterable[str], version: str = "1") -> None:
    rows.add(release_table(*(release_row(video_id, version) for video_id in ids)))


def assert_exact(rows: ReleaseRows, smoothing: Smoothing = FIVE) -> None:
    """Check that rows have what averaging all at once gives, from the own vectors that they were written with."""
    table = rows.read().rows
    versions = zip(table["video_id"].to_pylist(), table["version"].to_pylist(), strict=True)
    own_ND = np.stack([unit(f"{video_id} {version}") for video_id, version in versions])
    np.testing.assert_allclose(own_embeddings(table), own_ND, atol=1e-6)
    np.testing.assert_allclose(embeddings(table), smoothed(own_ND, smoothing), atol=1e-5)


def test_every_vector_is_averaged_and_a_second_run_writes_nothing(rows: ReleaseRows) -> None:
    assert smooth_rows(rows, FIVE) == len(IDS)
    assert_exact(rows)
    parts = rows.parts()
    assert smooth_rows(rows, FIVE) == 0 and rows.parts() == parts and rows.smoothing() == FIVE


def test_after_additions_changes_and_deletions_it_is_as_if_made_at_once(rows: ReleaseRows) -> None:
    smooth_rows(rows, FIVE)
    put(rows, ["new1", "new2"])
    put(rows, ["v003"], version="2")
    rows.add(tombstones(["v010", "v011"]))
    written = smooth_rows(rows, FIVE)
    assert_exact(rows)
    assert 3 < written < len(IDS) / 2
    assert smooth_rows(rows, FIVE) == 0


def test_many_random_changes_in_turn_stay_exact(rows: ReleaseRows) -> None:
    rng = np.random.default_rng(0)
    for turn in range(10):
        there = list(rows.current())
        put(rows, rng.choice([*there, f"more{turn}"], 3, replace=False), version=str(turn))
        rows.add(tombstones(rng.choice(there, 2, replace=False).tolist()))
        smooth_rows(rows, FIVE)
        assert_exact(rows)


def test_other_settings_average_all_again_and_none_restores_own_vectors(rows: ReleaseRows) -> None:
    other = Smoothing(neighbours=2)
    smooth_rows(rows, FIVE)
    assert smooth_rows(rows, other) == len(IDS)
    assert_exact(rows, other)
    assert smooth_rows(rows, Smoothing()) == len(IDS)
    assert_exact(rows, Smoothing())
    assert rows.read().rows["own"].null_count == len(IDS)


def test_fewer_videos_than_neighbours_are_all_averaged(tmp_path: Path) -> None:
    rows = ReleaseRows(Storage(tmp_path), 1)
    for ids in (["a"], ["b", "c"], ["d", "e", "f", "g", "h"]):
        put(rows, ids)
        smooth_rows(rows, FIVE)
        assert_exact(rows)


def test_what_others_write_meanwhile_is_kept(rows: ReleaseRows, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process changes and deletes videos between reading and writing."""
    whole = module._smoothed

    def slow(*given: object) -> object:
        put(rows, ["v000"], version="2")
        rows.add(tombstones(["v001"]))
        monkeypatch.setattr(module, "_smoothed", whole)
        return whole(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_smoothed", slow)
    smooth_rows(rows, FIVE)
    now = rows.current()
    assert now["v000"] == "2" and "v001" not in now and len(now) == len(IDS) - 1
    smooth_rows(rows, FIVE)
    assert_exact(rows)


def test_a_killed_run_is_completed_by_the_next(rows: ReleaseRows, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    smooth_rows(rows, FIVE)
    put(rows, ["new"])
    with monkeypatch.context() as patch:
        patch.setattr(ReleaseRows, "add", die)
        with pytest.raises(Killed):
            smooth_rows(rows, FIVE)
    smooth_rows(rows, FIVE)
    assert_exact(rows)


def test_rows_written_before_there_was_smoothing_can_be_read_and_averaged(rows: ReleaseRows) -> None:
    old = rows.read().rows.drop_columns(["own", "nearest"])
    rows._parts.merge(rows.parts(), old)
    assert rows.read().rows.schema == ROWS
    smooth_rows(rows, FIVE)
    assert_exact(rows)
