"""Users of a release with a user tower: one query from their history, with what ids add."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from live_case import Release, at, pinned
from rayreel.encoders.encoder import Modality
from rayreel.index.conditions import Filter
from rayreel.index.search import Hit
from rayreel.recommendation.candidates import Constraints
from rayreel.recommendation.live import Live
from rayreel.recommendation.query import Options
from rayreel.recommendation.recommend import PinnedRelease, by_user
from rayreel.recommendation.users import WatchedVideo, taste
from rayreel.release.snapshot import load_snapshot
from rayreel.release.users import read_user_tower, write_user_tower
from rayreel.tower.config import UserTowerConfig
from rayreel.tower.user import UserTower
from release_rows import DIM, release_row

CONFIG = UserTowerConfig(width=4, heads=2, history=5)
IDS = [f"d{n}" for n in range(6)]


def tower(favourite: str | None = None, boost: float = 50.0) -> UserTower:
    """An untrained tower, which ranks as the mean of a history, but for the popularity of one video."""
    found = UserTower.of(CONFIG, DIM, IDS)
    if favourite is not None:
        with torch.no_grad():
            found.network.popularity.weight[found.codes[favourite]] = boost
    found.network.eval()
    return found


def release(folder: Path, users: UserTower | None) -> Release:
    """Ten videos at 0 to 90 degrees of a plane, of which the first six have codes."""
    made = Release(folder, [release_row(f"d{n}", embedding=at(10.0 * n), category=f"c{n % 2}") for n in range(10)], 4)
    write_user_tower(made.rows, users)
    made.live = Live.of(load_snapshot(made.storage, 1, folder / "cache"))
    return made


def ask(live: Live, *history: WatchedVideo, liked: tuple[str, ...] = (), **options: Any) -> list[str]:  # noqa: ANN401
    answer = by_user(pinned(live), history, liked, Options(**options))
    return [video.video_id for video in answer]


def test_a_release_keeps_its_user_tower_and_another_has_none(tmp_path: Path) -> None:
    own = tower("d5")
    with_one, without = release(tmp_path / "a", own), release(tmp_path / "b", None)
    assert without.live.users is None and with_one.live.users is not None
    np.testing.assert_array_equal(with_one.live.users.residuals_KW, own.residuals_KW)


def test_a_broken_user_tower_is_reported_and_users_are_answered_without_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = release(tmp_path, tower("d5"))
    path = made.storage.path("releases", "v1", "user_tower.safetensors")
    made.storage.write(path, (made.storage.read(path) or b"")[:-8])
    assert read_user_tower(made.storage, 1) is None
    assert "answers users without their tower" in caplog.text


def test_untrained_the_tower_answers_as_the_mean_and_what_ids_add_moves_videos(tmp_path: Path) -> None:
    history = WatchedVideo("d1"), WatchedVideo("d2")
    plain = ask(release(tmp_path / "a", None).live, *history, top_k=8)
    assert ask(release(tmp_path / "b", tower()).live, *history, top_k=8) == plain
    moved = ask(release(tmp_path / "c", tower("d5")).live, *history, top_k=8)
    assert moved == ["d5", *(video for video in plain if video != "d5")]


def test_constraints_changes_and_deletions_hold_for_the_user_tower_too(tmp_path: Path) -> None:
    made = release(tmp_path, tower("d5"))
    watched = WatchedVideo("d1")
    assert ask(made.live, watched, top_k=1, exclude=frozenset({"d5"})) == ask(made.live, watched, top_k=3)[1:2]
    assert "d5" not in ask(made.live, watched, WatchedVideo("d5"), top_k=9)
    made.delete("d5")
    assert "d5" not in ask(made.refresh(), watched, top_k=9)
    made.put(release_row("d5", embedding=at(170.0), category="new"), release_row("d99", embedding=at(11.0)))
    assert ask(made.refresh(), watched, top_k=2) == ["d5", "d99"]


def test_liked_categories_stay_interests_of_their_own(tmp_path: Path) -> None:
    found = ask(release(tmp_path, tower()).live, WatchedVideo("d0"), liked=("c1",), top_k=4)
    assert {video for video in found if video in {"d1", "d2"}} and {video for video in found if video in {"d5", "d7"}}


def test_weights_of_modalities_are_answered_without_the_user_tower(tmp_path: Path) -> None:
    made = release(tmp_path, tower("d5"))
    assert ask(made.live, WatchedVideo("d1"), top_k=1, weights={Modality.TEXT: 1.0}) != ["d5"]


class NearestOf:
    """An index that finds the nearest of all videos but d5, as a search that is not exact may."""

    def __init__(self, made: Release) -> None:
        self.made = made

    def search(
        self,
        embedding: np.ndarray,
        top_k: int,
        exclude: Sequence[str] = (),
        *,
        filter: Filter | None = None,
        collection: str | None = None,
    ) -> list[Hit]:
        ranked = self.made.ranked(embedding, Options(exclude=frozenset({*exclude, "d5"})))
        return [Hit(name, score, "", "") for name, score in ranked[:top_k]]


def test_large_releases_search_the_index_and_all_videos_with_codes(tmp_path: Path) -> None:
    made = release(tmp_path, tower("d5"))
    exact = ask(made.live, WatchedVideo("d1"), top_k=5)
    large = PinnedRelease(
        made.live, NearestOf(made), "videos_v1", pinned(made.live).config.model_copy(update={"exact_cells": 0})
    )
    assert [video.video_id for video in by_user(large, [WatchedVideo("d1")], (), Options(top_k=5))] == exact
    assert exact[0] == "d5"


def test_constraints_of_a_source_are_kept(tmp_path: Path) -> None:
    made = release(tmp_path, tower("d5"))
    release_now = pinned(made.live)
    [source] = release_now.sources(taste(made.live, [WatchedVideo("d1")], (), release_now.config))
    found = source.nearest(3, Constraints(excluded_categories=frozenset({"c1"})))
    assert found is not None and {made.live.row(place).category for place in found.places} == {"c0"}
    assert set(found.stages) == {"user"}
