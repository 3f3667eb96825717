import numpy as np
import pyarrow as pa
import pytest

from feature_rows import feature_matrix, feature_row
from rayreel.catalog.interactions import SCHEMA
from rayreel.evaluation.exam import watched_together
from rayreel.evaluation.views import NoInteractions, read_views
from watching import watched

VIDEOS = feature_matrix(*(feature_row(name) for name in "abcd"))


def test_views_are_sorted_by_user_and_time() -> None:
    views = read_views(watched(("u", "c", 30), ("w", "a", 5), ("u", "b", 10), ("u", "d", 20)), VIDEOS)
    assert views.users.tolist() == [0, 0, 0, 1]
    assert views.rows.tolist() == [1, 3, 2, 0]
    assert views.places.tolist() == [2, 3, 0, 1]
    assert np.diff(views.seconds[:3]).tolist() == [10, 10]


def test_only_the_first_view_of_a_video_by_a_user_is_used() -> None:
    views = read_views(watched(("u", "a", 30), ("u", "b", 20), ("u", "a", 10), ("w", "a", 5)), VIDEOS)
    assert views.places.tolist() == [2, 1, 3]


def test_views_of_unknown_videos_are_ignored() -> None:
    assert read_views(watched(("u", "a", 1), ("u", "gone", 2)), VIDEOS).places.tolist() == [0]


def test_interactions_with_unknown_videos_only_are_rejected() -> None:
    with pytest.raises(NoInteractions, match=r"None of 1 interactions is with one of the 4 videos.*video_id"):
        read_views(watched(("u", "gone", 1)), VIDEOS)


def test_chunked_tables_are_read_as_one_table() -> None:
    halves = [watched(("u", "b", 2)), watched(("u", "a", 1), ("w", "c", 3))]
    views = read_views(pa.concat_tables(halves), VIDEOS)
    assert (views.rows.tolist(), views.places.tolist()) == ([0, 1, 2], [1, 0, 2])
    assert halves[0].schema == SCHEMA


def together(*watches: tuple[str, str, float], window: float) -> list[list[float]]:
    counts: list[list[float]] = watched_together(read_views(watched(*watches), VIDEOS), 4, window).toarray().tolist()
    return counts


def test_videos_are_co_watched_within_the_window_and_by_one_user_only() -> None:
    found = together(("u", "a", 0), ("u", "b", 50), ("u", "c", 100), ("w", "d", 50), window=60)
    assert found == [[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]


def test_every_user_adds_to_the_count() -> None:
    found = together(("u", "a", 0), ("u", "b", 1), ("w", "b", 7), ("w", "a", 9), window=10)
    assert found[0][1] == found[1][0] == 2


def test_co_watch_counts_match_a_comparison_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    watches = [(f"u{rng.integers(5)}", "abcd"[rng.integers(4)], float(rng.integers(100))) for _ in range(60)]
    views, expected = read_views(watched(*watches), VIDEOS), np.zeros((4, 4))
    for i in range(len(views.rows)):
        for j in range(len(views.rows)):
            close = abs(views.seconds[i] - views.seconds[j]) <= 25
            if i != j and views.users[i] == views.users[j] and close:
                expected[views.rows[i], views.rows[j]] += 1
    assert expected.sum() > 10
    np.testing.assert_array_equal(together(*watches, window=25), expected)
