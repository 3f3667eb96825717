import numpy as np
import pyarrow as pa
import pytest

from feature_rows import feature_matrix, feature_row
from rayreel.training.pairs import edges as module
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.pairs.edges import co_liked, training_interactions
from rayreel.training.pairs.relations import LabelSets
from watching import watched

SETS = [{"a", "b"}, {"A ", "c"}, {"c", "d", "e"}, {"a", "b"}, set(), set()]
LABELS = LabelSets.of([None] * len(SETS), [sorted(own) for own in SETS])
MATRIX = feature_matrix(*(feature_row(f"v{n}") for n in range(len(SETS))))


def liked_by(**videos: str) -> pa.Table:
    """User → numbers of the videos they liked."""
    return watched(*((user, f"v{n}", 0) for user, own in videos.items() for n in own), rating=4.0)


def edges(interactions: pa.Table, labels: LabelSets = LABELS, **config: float) -> dict[tuple[int, int], float]:
    kept, rows = training_interactions(interactions, MATRIX, np.ones(len(MATRIX), dtype=bool))
    found = co_liked(kept, rows, labels, PairsConfig(**config)).toarray()
    np.testing.assert_array_equal(found, found.T)
    return {(i, j): found[i, j] for i, j in zip(*np.nonzero(np.triu(found)), strict=True)}


def test_jaccard_is_the_share_of_common_labels() -> None:
    rows = np.arange(len(SETS))
    table = LABELS.jaccard(rows, rows)
    assert table[0, 1] == pytest.approx(1 / 3)
    assert table[1, 2] == pytest.approx(1 / 4)
    assert table[0, 2] == 0
    assert table[0, 3] == 1
    assert table[4, 5] == table[4, 0] == 0
    np.testing.assert_array_equal(table, table.T)


def test_the_category_is_a_label_like_the_tags() -> None:
    labels = LabelSets.of(["Comedy", "comedy", None], [["Drama"], None, ["drama", ""]])
    table = labels.jaccard(np.arange(3), np.arange(3))
    assert table[0, 1] == pytest.approx(1 / 2)
    assert table[0, 2] == pytest.approx(1 / 2)
    assert table[1, 2] == 0


def test_co_liked_videos_overlap_and_have_users_who_like_both() -> None:
    likes = liked_by(ann="0123", ben="01", cat="45")
    assert edges(likes) == {(0, 1): 2, (0, 3): 1, (1, 2): 1, (1, 3): 1}
    assert edges(likes, min_jaccard=0.3) == {(0, 1): 2, (0, 3): 1, (1, 3): 1}


def test_a_lower_rating_or_none_is_not_a_like() -> None:
    likes = liked_by(ann="03")
    low = watched(("ben", "v0", 0), ("ben", "v3", 0), rating=3.9)
    silent = watched(("cat", "v0", 0), ("cat", "v3", 0))
    assert edges(pa.concat_tables([likes, low, silent])) == {(0, 3): 1}
    assert edges(pa.concat_tables([likes, low, silent]), min_rating=3.5) == {(0, 3): 2}


def test_a_rating_given_twice_counts_once() -> None:
    assert edges(pa.concat_tables([liked_by(ann="03"), liked_by(ann="03")])) == {(0, 3): 1}


def test_only_the_most_co_liked_partners_are_kept() -> None:
    same = LabelSets.of(["one"] * len(SETS), [None] * len(SETS))
    likes = liked_by(ann="012345", ben="01", cat="23", dan="45")
    assert edges(likes, same, co_liked_partners=1) == {(0, 1): 2, (2, 3): 2, (4, 5): 2}


def test_edges_do_not_depend_on_the_chunk_size(monkeypatch: pytest.MonkeyPatch) -> None:
    likes = liked_by(ann="0123", ben="01", cat="1235")
    whole = edges(likes)
    monkeypatch.setattr(module, "_CELLS_AT_ONCE", 1)
    assert edges(likes) == whole
