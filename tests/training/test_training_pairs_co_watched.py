import numpy as np
import pyarrow as pa

from feature_rows import feature_matrix, feature_row
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.pairs.edges import co_watched, training_interactions
from watching import watched

HOUR = 3600.0
MATRIX = feature_matrix(*(feature_row(f"v{n}") for n in range(6)))


def together(interactions: pa.Table, **config: float | None) -> dict[tuple[int, int], float]:
    """Edges from v_i to v_j with i < j, and their weights."""
    kept, rows = training_interactions(interactions, MATRIX, np.ones(len(MATRIX), dtype=bool))
    edges = co_watched(kept, rows, len(MATRIX), PairsConfig(**config)).toarray()
    np.testing.assert_array_equal(edges, edges.T)
    return {(i, j): edges[i, j] for i, j in zip(*np.nonzero(np.triu(edges)), strict=True)}


def test_pairs_within_the_window_are_counted_per_user() -> None:
    watches = watched(
        ("ann", "v0", 0), ("ann", "v1", HOUR), ("ann", "v2", 3 * HOUR), ("ben", "v1", 0), ("ben", "v0", HOUR)
    )
    assert together(watches, co_watch_window_s=2 * HOUR) == {(0, 1): 2, (1, 2): 1}


def test_the_window_includes_its_end() -> None:
    assert together(watched(("ann", "v0", 0), ("ann", "v1", HOUR)), co_watch_window_s=HOUR) == {(0, 1): 1}
    assert together(watched(("ann", "v0", 0), ("ann", "v1", HOUR + 0.001)), co_watch_window_s=HOUR) == {}


def test_a_session_ends_with_a_pause_not_with_the_window() -> None:
    watches = watched(
        ("ann", "v0", 0),
        ("ann", "v1", HOUR),
        ("ann", "v2", 2 * HOUR),
        ("ann", "v3", 3.5 * HOUR),
        ("ann", "v4", 4 * HOUR),
    )
    edges = together(watches, session_gap_s=HOUR, co_watch_window_s=60)
    assert edges == {(0, 1): 1, (1, 2): 1, (0, 2): 1, (3, 4): 1}


def test_watches_of_two_users_are_not_a_pair() -> None:
    assert together(watched(("ann", "v0", 0), ("ben", "v1", 1))) == {}
    assert together(watched(("ann", "v0", 0), ("ben", "v1", 1)), session_gap_s=HOUR) == {}


def test_the_order_of_the_file_does_not_matter() -> None:
    watches = watched(
        ("ann", "v0", 0), ("ben", "v3", 5), ("ann", "v1", HOUR), ("ben", "v4", 9), ("ann", "v2", 90 * HOUR)
    )
    shuffled = watches.take([4, 1, 2, 0, 3])
    assert together(shuffled) == together(watches) == {(0, 1): 1, (3, 4): 1}


def test_a_video_watched_again_is_not_paired_with_itself() -> None:
    assert together(watched(("ann", "v0", 0), ("ann", "v0", 1), ("ann", "v1", 2))) == {(0, 1): 2}


def test_a_watch_is_paired_with_the_next_few_only() -> None:
    binge = watched(*(("ann", f"v{n}", float(n)) for n in range(6)))
    assert set(together(binge, co_watch_reach=2)) == {(i, j) for i in range(6) for j in (i + 1, i + 2) if j < 6}


def test_watches_of_videos_outside_training_are_ignored() -> None:
    watches = watched(("ann", "v0", 0), ("ann", "v1", 1), ("ann", "elsewhere", 2), ("ann", "v2", 3))
    in_train = np.array([True, False, True, True, True, True])
    kept, rows = training_interactions(watches, MATRIX, in_train)
    assert rows.tolist() == [0, 2]
    assert kept["video_id"].to_pylist() == ["v0", "v2"]
