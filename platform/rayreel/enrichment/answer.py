"""The answer of a language model: validated, cleaned and bounded before anything is stored."""

import re
import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MOST_SUMMARY, MOST_TITLE, MOST_TOPIC, MOST_TOPICS = 600, 120, 40, 8
_ADDRESS = re.compile(r"\b(?:[a-z]+://|www\.)\S+", re.IGNORECASE)
_FENCE = re.compile(r"\s*```(?:json)?\s*(.*?)\s*```\s*", re.DOTALL)
# Joiners shape emoji and words of several scripts; other invisible characters can hide or reorder text.
_JOINERS = "\u200c\u200d"


def plain(text: str, most: int) -> str:
    r"""Return a text on one line without control and invisible characters and without addresses, cut to whole words.

    >>> plain("Visit https://x.example now!\x1b[2J\nA  summary of words", 24)
    'Visit now![2J A summary'
    """
    text = unicodedata.normalize("NFC", text)
    text = "".join(letter if _is_visible(letter) else " " if letter.isspace() else "" for letter in text)
    text = " ".join(_ADDRESS.sub(" ", text).split())
    return text if len(text) <= most else text[: most + 1].rpartition(" ")[0][:most] or text[:most]


def topic(text: str) -> str:
    """Return a topic in lower case, of letters, digits and hyphens only.

    >>> topic(" #Sea-Side;  WALKS! ")
    'sea-side walks'
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(letter if letter == "-" or unicodedata.category(letter)[0] in "LMN" else " " for letter in text)
    return plain(kept.strip("- "), MOST_TOPIC)


def _is_visible(letter: str) -> bool:
    return letter in _JOINERS or unicodedata.category(letter)[0] != "C"


def _topics(given: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(found for one in given if (found := topic(one))))[:MOST_TOPICS]


class Enrichment(BaseModel):
    """What is stored of an answer: the summary, topics, and a title that says what the video shows."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    summary: Annotated[str, AfterValidator(lambda text: plain(text, MOST_SUMMARY)), Field(min_length=1)]
    topics: Annotated[tuple[str, ...], AfterValidator(_topics)]
    title: Annotated[str, AfterValidator(lambda text: plain(text, MOST_TITLE))]


def read_answer(text: str) -> Enrichment:
    """Return the content of an answer. Raises ValueError for anything but an object with exactly these fields."""
    fenced = _FENCE.fullmatch(text)
    found = Enrichment.model_validate_json(fenced[1] if fenced else text)
    if not found.summary:
        raise ValueError("the summary is empty")
    return found


def answer_schema() -> dict[str, Any]:
    """Return the JSON schema of an answer, in the subset that endpoints can enforce: without lengths."""
    texts = {"type": "array", "items": {"type": "string"}}
    fields = {"summary": {"type": "string"}, "topics": texts, "title": {"type": "string"}}
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
