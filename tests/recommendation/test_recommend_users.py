import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from live_case import Release, at, pinned, random_options, random_video
from rayreel.encoders.encoder import Modality
from rayreel.recommendation.candidates import Constraints, RankedCandidates
from rayreel.recommendation.config import RecommendConfig
from rayreel.recommendation.query import BadQuery, Options
from rayreel.recommendation.recommend import by_user
from rayreel.recommendation.users import Interests, WatchedVideo, taste
from release_rows import DIM, release_row


def axis(number: int, tilt: float = 0.0) -> np.ndarray:
    """Return one axis, tilted a little towards the last one."""
    vector = np.zeros(DIM, np.float32)
    vector[[number, -1]] = math.cos(tilt), math.sin(tilt)
    return vector


def world(folder: Path) -> Release:
    """Return a release with four orthogonal kinds of videos, five of each about 6 degrees apart."""
    kinds = enumerate(("sea", "sky", "city", "snow"))
    rows = [release_row(f"{c}{n}", embedding=axis(k, n / 10), category=c) for k, c in kinds for n in range(5)]
    return Release(folder, rows, neighbours=19)


def ask(release: Release, *history: str | WatchedVideo, liked: tuple[str, ...] = (), **options: Any) -> list[str]:  # noqa: ANN401
    watched = [WatchedVideo(entry) if isinstance(entry, str) else entry for entry in history]
    answer = by_user(pinned(release.live), watched, liked, Options(**options))
    return [found.video_id for found in answer.results]


def test_watched_videos_are_never_recommended_and_similar_ones_come_first(tmp_path: Path) -> None:
    found = ask(world(tmp_path), "sea0", "sea3", top_k=19)
    assert set(found[:3]) == {"sea1", "sea2", "sea4"}
    assert not {"sea0", "sea3"} & set(found)
    assert len(found) == 18


def test_a_narrow_history_is_one_query_and_a_broad_one_is_several(tmp_path: Path) -> None:
    release = world(tmp_path)

    def interests(*ids: str) -> int:
        return len(taste(release.live, [WatchedVideo(video_id) for video_id in ids], [], RecommendConfig()).queries_ID)

    assert interests("sea0") == 1
    assert interests("sea0", "sea1", "sea4") == 1
    assert interests("sea0", "sky1") == 2
    assert interests("sea0", "sea2", "sky1", "city1") == 3
    assert interests("sea0", "sky1", "city1", "snow1") == 3


def test_every_interest_gets_its_share_of_the_list(tmp_path: Path) -> None:
    release = world(tmp_path)
    even = ask(release, "sea0", "sky0", top_k=6)
    assert sorted(video_id[:3] for video_id in even) == ["sea"] * 3 + ["sky"] * 3
    uneven = ask(release, WatchedVideo("sea0", weight=2.0), "sky0", top_k=6)
    assert sorted(video_id[:3] for video_id in uneven) == ["sea"] * 4 + ["sky"] * 2


def test_a_narrow_interest_does_not_fill_the_list_with_its_higher_scores(tmp_path: Path) -> None:
    rows = [release_row(f"tight{n}", embedding=axis(0, n / 100)) for n in range(8)]
    rows += [release_row(f"loose{n}", embedding=axis(1, n / 6)) for n in range(5)]
    release = Release(tmp_path, rows, neighbours=12)
    assert {video_id[:5] for video_id in ask(release, "tight0", "loose0", top_k=2)} == {"tight", "loose"}


@pytest.mark.parametrize("config", [RecommendConfig(), RecommendConfig(half_life_s=3600)])
def test_a_video_watched_a_half_life_earlier_has_half_the_weight(tmp_path: Path, config: RecommendConfig) -> None:
    release = world(tmp_path)
    now = 1.8e9
    history = [
        WatchedVideo("sea0", timestamp=now),
        WatchedVideo("sky0", timestamp=now - config.half_life_s),
        WatchedVideo("city0"),
    ]
    found = taste(release.live, history, [], config)
    shares = {int(np.argmax(query)): share for query, share in zip(found.queries_ID, found.shares, strict=True)}
    assert [round(shares[kind] / shares[0], 6) for kind in (0, 1, 2)] == [1, 0.5, 1]
    weighted = [WatchedVideo("sea0"), WatchedVideo("sea4", weight=3.0)]
    together = taste(release.live, weighted, [], config).queries_ID[0]
    expected = axis(0) + 3 * axis(0, 0.4)
    np.testing.assert_allclose(together, expected / np.linalg.norm(expected), atol=1e-6)


def test_a_shorter_half_life_ranks_recent_interests_before_old_ones(tmp_path: Path) -> None:
    release, now = world(tmp_path), 1.8e9
    old = [WatchedVideo(f"sea{n}", timestamp=now - 86_400) for n in range(3)]
    history = [*old, WatchedVideo("sky0", timestamp=now)]

    def first(half_life_s: float) -> str:
        answer = by_user(pinned(release.live, half_life_s=half_life_s), history, (), Options(1))
        return answer.results[0].video_id[:3]

    assert first(30 * 86_400) == "sea" and first(3600) == "sky"


def test_the_number_of_interests_is_limited_by_the_settings(tmp_path: Path) -> None:
    release = world(tmp_path)
    history, liked = [WatchedVideo(f"{kind}0") for kind in ("sea", "sky", "city")], ("sea", "sky", "city")

    def interests(**limits: int) -> int:
        return len(taste(release.live, history, liked, RecommendConfig.model_validate(limits)).queries_ID)

    assert interests() == 6
    assert interests(watched_interests=1) == 4
    assert interests(watched_interests=1, liked_interests=2) == 3


def test_a_very_old_history_still_gives_results(tmp_path: Path) -> None:
    found = ask(world(tmp_path), WatchedVideo("sea0", timestamp=0.0), WatchedVideo("gone", timestamp=1.8e9), top_k=2)
    assert found == ["sea1", "sea2"]


def test_a_new_user_gets_the_centre_of_each_liked_category(tmp_path: Path) -> None:
    release = world(tmp_path)
    assert ask(release, liked=("sea",), top_k=1) == ["sea2"]
    assert {video_id[:-1] for video_id in ask(release, liked=("sea", "snow", "city"), top_k=3)} == {
        "sea",
        "snow",
        "city",
    }
    assert {video_id[:-1] for video_id in ask(release, "sky1", liked=("sea",), top_k=4)} == {"sky", "sea"}


def test_the_home_categories_of_a_user_are_those_watched_and_liked(tmp_path: Path) -> None:
    release = world(tmp_path)
    crossed = ask(release, "sea0", liked=("sky",), cross_category=True, top_k=19)
    assert {video_id[:-1] for video_id in crossed} == {"city", "snow"}
    mixed = ask(release, "sea0", serendipity=0.5, top_k=4)
    assert [video_id[:-1] == "sea" for video_id in mixed] == [True, True, False, False]


def test_unknown_videos_and_categories_are_skipped_and_all_unknown_is_an_error(tmp_path: Path) -> None:
    release = world(tmp_path)
    assert ask(release, "sea0", "gone", liked=("opera",), top_k=3) == ask(release, "sea0", top_k=3)
    with pytest.raises(BadQuery, match="none of the 1 videos"):
        ask(release, "gone", liked=("opera",))
    with pytest.raises(BadQuery, match="words"):
        ask(release, "sea0", hybrid=True)


def test_weights_mix_the_parts_of_watched_videos(tmp_path: Path) -> None:
    look, words = at(0).astype(np.float16), at(90).astype(np.float16)
    rows = [
        release_row("watched", embedding=at(45), visual=look, audio=None, text_part=words),
        release_row("blind", embedding=at(45), visual=None, audio=None, text_part=words),
        release_row("seen", embedding=at(0)),
        release_row("read", embedding=at(90)),
    ]
    release = Release(tmp_path, rows, neighbours=3)
    assert ask(release, "watched", weights={Modality.VISUAL: 1.0}, top_k=1) == ["seen"]
    assert ask(release, "watched", weights={Modality.TEXT: 1.0}, top_k=1) == ["read"]
    assert ask(release, "watched", "blind", weights={Modality.VISUAL: 1.0}, top_k=1) == ["seen"]
    with pytest.raises(BadQuery):
        ask(release, "blind", weights={Modality.VISUAL: 1.0})


def test_merged_lists_contain_each_video_once_at_its_best_rank() -> None:
    class FixedSource:
        """A source that returns a fixed list."""

        def __init__(self, *places: int) -> None:
            self.places = list(places)

        def nearest(self, count: int, constraints: Constraints) -> RankedCandidates:
            found = self.places[:count]
            return RankedCandidates(found, [1 / (10 + place) for place in found], ["index"] * len(found))

    merged = Interests([FixedSource(1, 2, 3, 4), FixedSource(3, 5, 6)], [2.0, 1.0]).nearest(5, Constraints())
    # At rank / share: 1 at 1/2, 2 and 3 at 1 (3 by the second list), 4 and 5 at 2.
    assert merged is not None
    assert merged.places == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("seed", range(6))
def test_a_user_with_one_interest_gets_the_results_of_exact_search(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    release = Release(tmp_path, [random_video(rng, f"v{n}") for n in range(30)], neighbours=3)
    release.delete("v1", "v2")
    release.put(*(random_video(rng, f"v{n}") for n in range(3, 6)))
    live = release.refresh()
    for video_id in ("v0", "v3", "v9"):
        options = random_options(rng, release.videos)
        answer = by_user(pinned(live), [WatchedVideo(video_id)], [], options)
        release.agrees(answer, release.like(video_id, options), options.top_k)
