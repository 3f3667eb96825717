"""How much words count beside embeddings, chosen on a release's own titles."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from rayreel.index.postings import Postings, matches
from rayreel.release.config import FieldBoosts, WordsConfig
from rayreel.release.lexicon import DEFAULT_WEIGHT, WEIGHTS, documents, vocabulary, word_weight
from release_rows import release_row, release_table, unit

CATEGORIES, EACH = 30, 5


def rows(*, words_tell: bool, vectors_tell: bool, categories: int = CATEGORIES) -> pa.Table:
    """Return videos whose titles share three of four words with those of their category, or else of others.

    Likewise, vectors lie near those of their category, or anywhere.
    """
    made = []
    for n in range(categories * EACH):
        category, other = n % categories, n // EACH
        words = category if words_tell else other
        near = unit(f"category {category}") if vectors_tell else unit(f"video {n}")
        vector = near + 0.3 * unit(f"noise {n}")
        vector = vector / np.linalg.norm(vector)
        title = f"a{words} b{words} c{words} only{n}"
        text_part = vector.astype(np.float16)
        columns = dict[str, Any](title=title, text=title, embedding=vector, text_part=text_part, tags=[])
        made.append(release_row(f"v{n:04}", "1", sound=True, category=f"k{category}", **columns))
    return release_table(*made)


def weight(table: pa.Table) -> float:
    return word_weight(table, Postings.of(documents(table, WordsConfig())), WordsConfig())


def test_words_that_tell_the_category_count_most_and_words_that_mislead_least() -> None:
    assert weight(rows(words_tell=True, vectors_tell=False)) == max(WEIGHTS)
    assert weight(rows(words_tell=False, vectors_tell=True)) < DEFAULT_WEIGHT


def test_too_few_titles_give_the_default() -> None:
    assert weight(rows(words_tell=False, vectors_tell=True, categories=5)) == DEFAULT_WEIGHT


@pytest.fixture
def whales() -> pa.Table:
    """Videos with the word in one field each: titled, tagged, described, said and nowhere."""
    segments = [{"start_s": 1.0, "end_s": 2.0, "text": "Look!"}, {"start_s": 3.0, "end_s": 4.0, "text": "A whale."}]
    return release_table(
        release_row("titled", title="whale", tags=[]),
        release_row("tagged", title="", tags=["whale"]),
        release_row("described", title="", tags=[], description="of a whale"),
        release_row("said", title="", tags=[], segments=segments),
        release_row("nowhere", title="", tags=[]),
    )


def test_words_of_title_tags_and_transcript_count_more_than_those_of_a_description(whales: pa.Table) -> None:
    titled, tagged, described, said, nowhere = matches([Postings.of(documents(whales, WordsConfig()))], ["whale"])[0]
    assert titled == tagged == said == 1 > described > nowhere == 0


def test_boosts_change_how_much_a_field_counts_and_0_leaves_it_out(whales: pa.Table) -> None:
    config = WordsConfig(boosts=FieldBoosts(title=0.1, tags=0))
    titled, tagged, described, said, nowhere = matches([Postings.of(documents(whales, config))], ["whale"])[0]
    assert said == 1 > described > titled > tagged == nowhere == 0


def test_what_a_language_model_wrote_is_found_and_counts_less_than_a_title() -> None:
    rows = release_table(
        release_row("a", title="whale"),
        release_row("b", title="film", summary="A whale swims past."),
        release_row("c", title="film", topics=["whales", "sea"]),
        release_row("d", title="film", rewritten_title="Whale beside a boat"),
        release_row("e", title="film"),
    )
    titled, *written, nowhere = matches([Postings.of(documents(rows, WordsConfig()))], ["whale"])[0].tolist()
    assert len(set(written)) == 1 and titled > written[0] > nowhere == 0
    without = WordsConfig(boosts=FieldBoosts(summary=0))
    assert not any(matches([Postings.of(documents(rows, without))], ["whale"])[0][1:])
    assert "swims" in vocabulary(rows, WordsConfig()).words and "swims" not in vocabulary(rows, without).words
