from pathlib import Path
from typing import Any

import numpy as np
import pytest

from live_case import Release, at, explanation, pinned, random_options, random_video
from rayreel.index.filters import parse_filter
from rayreel.recommendation.live import UnknownVideo
from rayreel.recommendation.query import Options
from rayreel.recommendation.recommend import by_id, by_id_fast
from release_rows import release_row


def circle(*degrees: float) -> list[dict[str, Any]]:
    return [release_row(f"at{angle:g}", embedding=at(angle), category="c") for angle in degrees]


@pytest.mark.parametrize("seed", range(16))
def test_results_equal_exact_search_after_additions_changes_and_deletions(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    names = [f"v{n:02}" for n in range(40)]
    started = names[: int(rng.integers(1, 35))]
    release = Release(tmp_path, [random_video(rng, name) for name in started], neighbours=int(rng.integers(1, 40)))
    fast = 0
    for _ in range(6):
        for video_id in release.videos:
            options = random_options(rng, names)
            expected = release.like(video_id, options)
            answer = by_id_fast(release.live, video_id, options)
            if answer is not None:
                fast += 1
                release.agrees(answer, expected, options.top_k)
            release.agrees(by_id(pinned(release.live), video_id, options), expected, options.top_k)
        if not release.videos or rng.random() < 0.5:
            release.put(
                *(random_video(rng, name) for name in rng.choice(names, int(rng.integers(1, 6)), replace=False))
            )
        else:
            release.delete(*rng.choice(names, int(rng.integers(1, 6)), replace=False))
        release.refresh()
        assert len(release.live) == len(release.videos)
    assert fast


def test_a_list_used_up_by_filters_gives_no_answer_instead_of_a_short_one(tmp_path: Path) -> None:
    release = Release(tmp_path, [*circle(*range(0, 50, 5)), release_row("far", embedding=at(180), category="d")], 4)
    assert by_id_fast(release.live, "at0", Options(3, parse_filter({"category": "d"}))) is None
    assert by_id_fast(release.live, "at0", Options(3, exclude=frozenset({"at5", "at10"}))) is None
    assert by_id_fast(release.live, "at0", Options(5)) is None
    answer = by_id_fast(release.live, "at0", Options(4))
    assert answer is not None
    assert [found.video_id for found in answer.results] == ["at5", "at10", "at15", "at20"]


def test_only_a_complete_neighbour_list_gives_fewer_results_than_requested(tmp_path: Path) -> None:
    everyone = Release(tmp_path / "everyone", circle(0, 10, 20, 30), neighbours=3)
    answer = by_id_fast(everyone.live, "at0", Options(10, exclude=frozenset({"at10"})))
    assert answer is not None
    assert [found.video_id for found in answer.results] == ["at20", "at30"]
    all_but_one = Release(tmp_path / "but one", circle(0, 10, 20, 30), neighbours=2)
    assert by_id_fast(all_but_one.live, "at0", Options(10)) is None


def test_added_videos_nearer_than_the_end_of_the_list_replace_deleted_ones(tmp_path: Path) -> None:
    release = Release(tmp_path, circle(*range(0, 50, 5)), neighbours=4)
    release.delete("at5", "at10")
    assert by_id_fast(release.refresh(), "at0", Options(3)) is None
    release.put(*circle(12))
    answer = by_id_fast(release.refresh(), "at0", Options(3, explain=True))
    assert answer is not None
    assert [found.video_id for found in answer.results] == ["at12", "at15", "at20"]
    assert [explanation(found).stage for found in answer.results] == ["overlay", "neighbours", "neighbours"]


def test_an_added_video_beyond_the_end_of_the_list_gives_no_answer(tmp_path: Path) -> None:
    release = Release(tmp_path, circle(*range(0, 50, 5)), neighbours=4)
    release.delete("at5", "at10")
    release.put(*circle(26))  # at25 is nearer, but not in the stored list
    assert by_id_fast(release.refresh(), "at0", Options(3)) is None


def test_a_changed_video_is_ranked_by_its_new_embedding(tmp_path: Path) -> None:
    release = Release(tmp_path, circle(0, 10, 20, 30), neighbours=10)
    release.put(release_row("at10", embedding=at(25), category="c", title="moved"))
    answer = by_id_fast(release.refresh(), "at0", Options(3))
    assert answer is not None
    assert [(found.video_id, found.title) for found in answer.results] == [
        ("at20", "film at20"),
        ("at10", "moved"),
        ("at30", "film at30"),
    ]


def test_a_deleted_video_is_unknown_until_it_is_added_again(tmp_path: Path) -> None:
    release = Release(tmp_path, circle(0, 10, 20), neighbours=10)
    release.delete("at10")
    with pytest.raises(UnknownVideo, match="at10"):
        by_id_fast(release.refresh(), "at10", Options())
    release.put(*circle(10))
    release.agrees(by_id(pinned(release.refresh()), "at10", Options()), release.like("at10", Options()), 10)
