"""Read and write tags in the formats that catalogs use."""

import csv
import io
import json
import math
import re
import tokenize
from ast import literal_eval
from collections.abc import Iterable
from typing import Any

from rayreel.catalog.blank import is_blank, is_blank_word

# The first group that occurs in a text separates its tags, so tags may contain commas: "Paris, France|Rome".
SEPARATORS = ("|\uff5c", ";\uff1b", "\n", ",\uff0c\u3001")  # with their full-width forms
_HASHTAGS = re.compile(r"(#[^\s#,;|]+[\s,;|]*)+")
_BRACKETS = {"[": "]", "(": ")", "{": "}"}
_LAYOUT = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def read_tags(value: Any) -> tuple[str, ...]:  # noqa: ANN401
    """Read tags from a list of words or a text; blank tags are dropped.

    The text may be a|b, "a; b", "a, b", #a #b or a list in the syntax of Python, NumPy, JSON or SQL. Raises ValueError
    if it looks like a list but cannot be parsed as one, or if an element is not a word.
    """
    if is_blank(value):
        return ()
    if isinstance(value, (str, bytes)):
        return _words(_split((value.decode() if isinstance(value, bytes) else value).strip()))
    return _words(value if isinstance(value, (list, tuple)) else [value])


def write_tags(tags: Iterable[str]) -> str:
    """Return tags as a text that `read_tags` reads back: a|b, or JSON if a|b would be read differently."""
    tags = tuple(tags)
    text = "|".join(tags)
    return text if not tags or _read_back(text) == tags else json.dumps(tags, ensure_ascii=False)


def _read_back(text: str) -> tuple[str, ...] | None:
    try:
        return read_tags(text)
    except ValueError:
        return None


def _words(values: Iterable[Any]) -> tuple[str, ...]:
    return tuple(word for value in values if not is_blank(value) and (word := _word(value)))


def _word(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        return str(int(value))  # pandas converts a column of years with missing values to floats
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"{str(value)[:40]!r} is not a word")
    return str(value).strip()


def _split(text: str) -> Iterable[Any]:
    if is_blank_word(text):
        return ()
    if text[-1] == _BRACKETS.get(text[0]) and (listed := _parse_list(text)) is not None:
        return listed
    return _separated(text)


def _parse_list(text: str) -> list[Any] | None:
    """Return the elements of a list in brackets, or None if the text is a sentence with brackets."""
    inner = text[1:-1].strip()
    if not inner:
        return []
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        listed = _literals(text)
    if isinstance(listed, list):
        return listed
    if text[0] == "{" and listed is None and not any(mark in inner for mark in "{}:'"):
        return list(_separated(inner))  # an SQL array, which quotes only some words
    if listed is not None or any(mark in inner for mark in "'\""):
        raise ValueError("not a list of words")
    unquoted = text[0] != "(" and not any(mark in inner for mark in "[]{}")
    return list(_separated(inner)) if unquoted else None


def _literals(text: str) -> list[Any] | None:
    """Return the Python literals between brackets, separated by commas or, as in NumPy, by spaces; None if invalid."""
    words: list[Any] = []
    end = (0, 0)
    try:
        tokens = [t for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type not in _LAYOUT]
        for token in tokens[1:-1]:
            if token.type in {tokenize.STRING, tokenize.NUMBER} or token.string in {"None", "True", "False"}:
                if token.start == end:  # 'it''s': an escaped quote in SQL, but two adjacent strings in Python
                    return None
                end = token.end
                words.append(literal_eval(token.string))
            elif token.string.lower() != "nan" and token.string != ",":
                return None
    except (tokenize.TokenError, SyntaxError, ValueError):
        return None
    return words


def _separated(text: str) -> Iterable[str]:
    if _HASHTAGS.fullmatch(text):
        return re.findall(r"#([^\s#,;|]+)", text)
    marks = next((marks for marks in SEPARATORS if any(mark in text for mark in marks)), "")
    if marks == SEPARATORS[-1] and '"' in text:
        return _quoted(text)
    words = [word.strip() for word in re.split(f"[{marks}]", text)] if marks else [text]
    quotes = {word[0] + word[-1] for word in words if word}
    return [word[1:-1] for word in words] if quotes in ({"''"}, {'""'}) else words


def _quoted(text: str) -> Iterable[str]:
    """Split a text at commas outside quotes; a quote within a word is part of the word."""
    try:
        return next(csv.reader([text], skipinitialspace=True, strict=True))
    except csv.Error:
        return text.split(",")
