import numpy as np
import pytest

from feature_rows import feature_matrix, feature_row
from rayreel.release.rows import index_rows

MATRIX = feature_matrix(
    feature_row("a", title="A", category="c", tags=["x", "y"], extra={"likes": 3, "place": {"city": "Rome"}}),
    feature_row("b"),
)
Z = np.eye(2, 4, dtype=np.float32)


def test_each_video_brings_its_own_embedding_and_catalog_columns() -> None:
    first, second = index_rows(MATRIX, Z)
    assert (first.video_id, first.title, first.category, first.uri) == ("a", "A", "c", "/films/a.mp4")
    assert first.tags == ("x", "y")
    np.testing.assert_array_equal(first.embedding, Z[0])
    np.testing.assert_array_equal(second.embedding, Z[1])
    assert (second.video_id, second.tags) == ("b", ())


def test_a_catalogs_own_columns_reach_the_index() -> None:
    first, second = index_rows(MATRIX, Z)
    assert first.extra == {"likes": 3, "place": {"city": "Rome"}}
    assert second.extra == {}


def test_embeddings_of_other_videos_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        list(index_rows(MATRIX, np.eye(3, dtype=np.float32)))
