"""Answers of a language model: what is accepted, and what is left of it."""

import json

import pytest

from language_model import ANSWER
from rayreel.enrichment.answer import MOST_SUMMARY, MOST_TITLE, MOST_TOPICS, answer_schema, read_answer


def answer(**changes: object) -> str:
    return json.dumps(ANSWER | changes)


def test_an_answer_has_a_summary_topics_and_a_title() -> None:
    found = read_answer(answer())
    assert (found.summary, found.topics, found.title) == (ANSWER["summary"], ("whales", "sea"), ANSWER["title"])
    assert read_answer(f"```json\n{answer()}\n```") == found


@pytest.mark.parametrize(
    "text",
    [
        "A whale swims past.",
        "[]",
        answer(summary=""),
        answer(summary="\x1b\u202e https://evil.example/x"),
        answer(summary=7),
        answer(topics="whales"),
        answer(topics=[["whales"]]),
        answer(title=None),
        answer(category="spam"),
        answer(video_id="other"),
        answer() + answer(),
        json.dumps({"summary": "A whale."}),
    ],
)
def test_anything_else_is_invalid(text: str) -> None:
    with pytest.raises(ValueError):
        read_answer(text)


def test_lengths_are_capped_at_whole_words() -> None:
    found = read_answer(answer(summary="whale " * 5000, title="boat " * 100, topics=[f"topic {n}" for n in range(99)]))
    assert MOST_SUMMARY - 6 < len(found.summary) <= MOST_SUMMARY and found.summary.endswith("whale")
    assert len(found.title) <= MOST_TITLE and len(found.topics) == MOST_TOPICS


def test_control_characters_text_direction_and_addresses_are_removed() -> None:
    found = read_answer(
        answer(summary="See\x00 a\u202e wh\u200bale\n\nat HTTPS://evil.example/a?b or www.evil.example", title="\x07")
    )
    assert found.summary == "See a whale at or" and found.title == ""
    assert read_answer(answer(summary="👩‍🚀 می‌رود")).summary == "👩‍🚀 می‌رود"


def test_topics_are_normalised_and_distinct() -> None:
    found = read_answer(answer(topics=["Sea-Life!", "sea life", "#SEA  life", "<b>", "\uff11\uff12", "Ünïcode", ""]))
    assert found.topics == ("sea-life", "sea life", "b", "12", "ünïcode")


def test_the_schema_that_endpoints_enforce_allows_no_other_field() -> None:
    schema = answer_schema()
    assert set(schema["required"]) == set(schema["properties"]) == set(ANSWER)
    assert schema["additionalProperties"] is False
