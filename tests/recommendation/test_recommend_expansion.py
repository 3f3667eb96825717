"""Text queries that move toward the videos that they find."""

from pathlib import Path

import numpy as np
import pytest

from live_case import Release, at, pinned
from rayreel.client.messages import RecommendRequest
from rayreel.recommendation.expansion import expanded
from rayreel.recommendation.query import Options
from rayreel.recommendation.recommend import by_vector, recommend
from release_rows import release_row


def release_of(folder: Path, *videos: tuple[float, float]) -> Release:
    """Return a release of videos at these angles, the second that of their text alone."""
    rows = [
        release_row(f"v{n}", embedding=at(whole), text_part=at(text).astype(np.float16))
        for n, (whole, text) in enumerate(videos)
    ]
    return Release(folder, rows, neighbours=2)


def test_a_text_moves_halfway_to_the_mean_of_its_nearest_videos(tmp_path: Path) -> None:
    live = release_of(tmp_path, (40, 0), (40, 0), (170, 180), (175, 180)).live
    np.testing.assert_allclose(expanded(pinned(live).nearest(at(0)), 2), at(20), atol=1e-3)


def test_the_nearest_are_chosen_by_their_text_as_well(tmp_path: Path) -> None:
    live = release_of(tmp_path, (30, 120), (-40, 0), (180, 180)).live
    np.testing.assert_allclose(expanded(pinned(live).nearest(at(0)), 1), at(-20), atol=1e-3)


@pytest.mark.parametrize(("count", "angle"), [(0, 40), (3, 180)])
def test_a_text_stays_where_it_is_without_expansion_or_near_videos(tmp_path: Path, count: int, angle: float) -> None:
    live = release_of(tmp_path, (angle, angle)).live
    np.testing.assert_array_equal(expanded(pinned(live).nearest(at(0)), count), at(0))


def test_only_queries_in_words_are_expanded_and_their_scores_are_cosines_with_the_expanded(tmp_path: Path) -> None:
    live = release_of(tmp_path, (40, 0), (40, 0), (-50, 180), (175, 180)).live
    release = pinned(live, text_neighbours=2)
    found = recommend(release, RecommendRequest(text="x", filter={"video_id": {"in": ["v2", "v3"]}}), at(0))
    assert [video.score for video in found] == pytest.approx([np.cos(np.deg2rad(a)) for a in (70, 155)], abs=1e-3)
    by_embedding = recommend(release, RecommendRequest(embedding=at(0).tolist(), top_k=4))
    assert [video[:2] for video in by_embedding] == [video[:2] for video in by_vector(release, at(0), Options(4))]
