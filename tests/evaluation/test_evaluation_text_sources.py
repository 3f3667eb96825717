"""What each source of text contributes to a ranking."""

from collections.abc import Callable

import numpy as np
import pytest

from feature_rows import feature_matrix, feature_row
from rayreel.encoders.hashed_words import HashedWords
from rayreel.encoders.text_weights import TextWeights
from rayreel.errors import RayreelError
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.exam import Exam
from rayreel.evaluation.text_sources import ALL, RememberedTexts, TextSources, compare_text_sources
from rayreel.features.matrix import FeatureMatrix

ENCODER = HashedWords("words")
VIDEOS, CATEGORIES = 60, 4


def planted(**columns: Callable[[int], object]) -> FeatureMatrix:
    """Videos of four categories with random features; columns are functions of the video's number."""
    rows = (
        feature_row(f"v{n:02}", category=f"c{n % CATEGORIES}", **{name: of(n) for name, of in columns.items()})  # type: ignore[arg-type]
        for n in range(VIDEOS)
    )
    return feature_matrix(*rows)


def compared(matrix: FeatureMatrix, weights: TextWeights | None = None) -> dict[str, TextSources]:
    config = EvaluationConfig(bootstrap=100)
    _, rows = compare_text_sources(Exam.of(matrix, SplitConfig(test=0.4), config), ENCODER, weights)
    return {row.name: row for row in rows}


def telling(n: int) -> str:
    return f"word{n % CATEGORIES} only{n}"


def saying_nothing(n: int) -> str:
    return f"video number {n}"


def test_a_source_that_tells_the_category_is_missed_and_another_one_is_not() -> None:
    found = compared(planted(title=saying_nothing, transcript=telling))
    assert list(found) == [ALL, "without title", "without transcript"]
    lost = found["without transcript"].text_lost
    assert lost is not None and lost.low > 0.2 and lost.p < 0.05
    other = found["without title"].text_lost
    assert other is not None and other.difference < 0.05 < lost.difference
    assert found["without title"].text.mean > 0.9 and found["without transcript"].text.mean < 0.6
    assert found[ALL].text_lost is None and found[ALL].videos == VIDEOS
    assert found["without transcript"].mix.mean < found[ALL].mix.mean


def test_videos_without_a_source_are_counted() -> None:
    found = compared(
        planted(
            title=lambda n: telling(n) if n % 2 else "",
            tags=lambda n: [telling(n)] if n < 12 else [],
            transcript=telling,
        )
    )
    assert found["tags only"].videos == 12 and found["title only"].videos == VIDEOS // 2
    assert found["without transcript"].videos == VIDEOS // 2 + 6


def test_a_summary_that_the_features_lack_is_added_for_comparison() -> None:
    matrix = planted(title=saying_nothing, summary=telling)
    found = compared(matrix)
    assert list(found) == [ALL, "each source by itself", "each by itself, and summary"]
    assert found["each by itself, and summary"].text.mean > found["each source by itself"].text.mean + 0.2
    read = compared(matrix, TextWeights(summary=1))
    assert read["without summary"].text.mean < read[ALL].text.mean == read[ALL].text.mean


def test_each_text_is_encoded_once() -> None:
    asked: list[str] = []

    class Counting(HashedWords):
        def encode(self, texts: list[str], *, query: bool = False) -> np.ndarray:
            asked.extend(texts)
            return super().encode(texts, query=query)

    remembered = RememberedTexts(Counting("words"))
    first = remembered.encode(["a", "b", "a"])
    np.testing.assert_array_equal(remembered.encode(["b", "a", "b"]), first[[1, 0, 1]])
    assert asked == ["a", "b"] and remembered.encode([]).shape == (0, ENCODER.dim)


def test_without_a_text_or_a_query_there_is_nothing_to_compare() -> None:
    with pytest.raises(RayreelError, match="no video has a title"):
        compared(planted(title=lambda _: ""))
    with pytest.raises(RayreelError, match="no held-out video"):
        compared(feature_matrix(*(feature_row(f"v{n}", category=f"c{n}") for n in range(20))))
