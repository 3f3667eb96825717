import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from live_case import Release, at, explanation, pinned, random_video
from rayreel.recommendation.query import Options
from rayreel.recommendation.recommend import by_id, by_id_fast, by_vector
from rayreel.recommendation.results import required_outsiders
from release_rows import release_row


def test_the_share_is_rounded_up_and_zero_stays_zero() -> None:
    assert [required_outsiders(share, 10) for share in (0.0, 0.01, 0.1, 0.3, 0.35, 1.0)] == [0, 1, 1, 3, 4, 10]


@pytest.mark.parametrize("seed", range(8))
def test_the_share_comes_from_other_categories_and_both_lists_are_the_best(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    release = Release(tmp_path, [random_video(rng, f"v{n}") for n in range(40)], neighbours=int(rng.integers(5, 40)))
    release.put(*(random_video(rng, f"w{n}") for n in range(5)))
    live = release.refresh()
    for video_id in release.videos:
        options = Options(int(rng.integers(1, 12)), serendipity=float(rng.choice([0.1, 0.3, 0.5, 1.0])))
        home = release.videos[video_id]["category"]
        ranked = release.like(video_id, Options())
        best = [score for _, score in ranked[: options.top_k]]
        away = [score for key, score in ranked if home and release.videos[key]["category"] != home]
        near = [score for key, score in ranked if not home or release.videos[key]["category"] == home]
        need = min(math.ceil(options.serendipity * options.top_k - 1e-9), len(away))
        answers = [by_id_fast(live, video_id, options), by_id(pinned(live), video_id, options)]
        for answer in (answer for answer in answers if answer):
            scores = [found.score for found in answer.results]
            outside = [found.score for found in answer.results if home and found.category != home]
            assert len(answer.results) == options.top_k
            if home:
                assert len(outside) >= need
                np.testing.assert_allclose(outside, away[: len(outside)], atol=1e-5)
                inside = [found.score for found in answer.results if found.category == home]
                np.testing.assert_allclose(inside, near[: len(inside)], atol=1e-5)
            if not home or len(outside) > need:  # the best results already have enough outsiders: nothing changes
                np.testing.assert_allclose(scores, best, atol=1e-5)
            assert scores == sorted(scores, reverse=True)


def circle(**categories: tuple[float, str]) -> list[dict[str, Any]]:
    return [release_row(name, embedding=at(d), category=category) for name, (d, category) in categories.items()]


def test_results_added_by_serendipity_have_that_stage(tmp_path: Path) -> None:
    rows = circle(query=(0, "sea"), a=(5, "sea"), b=(10, "sea"), c=(15, "sea"), far=(90, "sky"))
    release = Release(tmp_path, rows, neighbours=9)
    answer = by_id_fast(release.live, "query", Options(3, serendipity=0.2, explain=True))
    assert answer is not None
    stages = [(found.video_id, explanation(found).stage) for found in answer.results]
    assert stages == [("a", "neighbours"), ("b", "neighbours"), ("far", "serendipity")]


def test_a_query_without_a_category_takes_the_category_of_its_nearest_video(tmp_path: Path) -> None:
    release = Release(tmp_path, circle(a=(5, "sea"), b=(10, "sea"), c=(50, "sky"), d=(60, "")), neighbours=9)
    crossed = by_vector(pinned(release.live), at(0), Options(cross_category=True))
    assert [found.video_id for found in crossed.results] == ["c", "d"]
    mixed = by_vector(pinned(release.live), at(0), Options(2, serendipity=0.5))
    assert [found.video_id for found in mixed.results] == ["a", "c"]


def test_cross_category_excludes_the_category_of_the_query_if_it_has_one(
    tmp_path: Path,
) -> None:
    release = Release(tmp_path, circle(a=(0, "sea"), b=(10, "sea"), c=(50, "sky"), d=(60, "")), neighbours=9)
    crossed = {name: by_id_fast(release.live, name, Options(cross_category=True)) for name in "ad"}
    assert {name: [found.video_id for found in answer.results] for name, answer in crossed.items() if answer} == {
        "a": ["c", "d"],
        "d": ["c", "b", "a"],
    }
