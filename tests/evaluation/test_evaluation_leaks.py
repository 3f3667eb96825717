"""The leak check: metadata from which the category can be read off."""

import numpy as np
import pytest

from feature_rows import feature_matrix, feature_row
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.exam import Exam
from rayreel.evaluation.leaks import FILES, TAGS, TITLES, LeakCheck, leak_checks

CATEGORIES = ("chess", "sign_language", "cars")
WORDS = ("red", "small", "two", "long", "quiet", "cold", "late", "morning")


def checked(title: str, file: str, tags: str = "", videos: int = 60) -> dict[str, LeakCheck]:
    """Check videos of three categories; `{}` is the category's name, `{w}` random words, `{n}` the video's number."""
    rng = np.random.default_rng(0)

    def filled(form: str, number: int) -> str:
        return form.format(CATEGORIES[number % 3], w=" ".join(rng.choice(WORDS, 3)), n=number)

    rows = [
        feature_row(
            f"v{n}",
            frames=1,
            title=filled(title, n),
            uri=f"/clips/{filled(file, n)}.mp4",
            tags=[filled(tags, n)] if tags else [],
            category=CATEGORIES[n % 3],
        )
        for n in range(videos)
    ]
    exam = Exam.of(feature_matrix(*rows), SplitConfig(), EvaluationConfig(bootstrap=200))
    return {check.of: check for check in leak_checks(exam)}


def test_titles_made_from_labels_are_a_leak() -> None:
    found = checked("{} {n}", "{n}")[TITLES]
    assert found.accuracy == found.named == 1
    assert found.most_frequent == pytest.approx(1 / 3)
    assert "tower.modalities" in found.warning


def test_words_without_relation_to_the_category_are_no_leak() -> None:
    for found in checked("{w}", "{n} {w}", "{w}").values():
        assert found.low <= found.most_frequent + 0.15 and found.named == 0
        assert not found.warning


def test_telling_file_names_are_a_leak_only_where_titles_repeat_them() -> None:
    apart, repeated = checked("{w}", "{}_{n}")[FILES], checked("{} {n}", "{}_{n}")[FILES]
    assert apart.accuracy == repeated.accuracy == 1
    assert not apart.warning and "titles repeat them" in repeated.warning


def test_tags_that_repeat_the_category_are_a_leak() -> None:
    assert "Tags" in checked("{w}", "{n}", "{}")[TAGS].warning


def test_one_title_in_five_that_names_the_category_is_a_leak() -> None:
    rows = [
        feature_row(
            f"v{n}", frames=1, title="chess" if n % 4 == 0 else WORDS[n % 8], category="chess" if n % 2 == 0 else "x"
        )
        for n in range(80)
    ]
    (found, *_) = leak_checks(Exam.of(feature_matrix(*rows), SplitConfig(), EvaluationConfig(bootstrap=200)))
    assert found.of == TITLES and found.named == 0.25 and found.warning


def test_a_classifier_never_sees_videos_of_the_source_that_it_is_asked_about() -> None:
    """Every source has one category and a word of its own, which says nothing about other sources."""
    rows = [
        feature_row(f"v{n}", frames=1, title=f"source{n // 4}x", category=f"c{n // 4 % 2}", extra={"source": n // 4})
        for n in range(80)
    ]
    (found, *_) = leak_checks(Exam.of(feature_matrix(*rows), SplitConfig(), EvaluationConfig(bootstrap=200)))
    assert found.accuracy < 0.75


def test_nothing_is_checked_without_enough_labels_or_without_words() -> None:
    assert checked("{w}", "{n}", videos=9) == {}
    assert set(checked("", "{n}")) == set()
