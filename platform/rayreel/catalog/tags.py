"""Tags, however a catalog writes them."""

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

# The first of these that occurs separates; a comma may then stand in a tag: "Paris, France|Rome".
SEPARATORS = ("|\uff5c", ";\uff1b", "\n", ",\uff0c\u3001")  # with their full-width forms
_HASHTAGS = re.compile(r"(#[^\s#,;|]+[\s,;|]*)+")
_BRACKETS = {"[": "]", "(": ")", "{": "}"}
_LAYOUT = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def read_tags(value: Any) -> tuple[str, ...]:  # noqa: ANN401
    """Read tags from a list of words or one text; blank ones are dropped.

    The text may be a|b, "a; b", "a, b", #a #b or a list as Python, NumPy, JSON or SQL writes it. Raises ValueError
    where it looks like a list and is none, or an element is no word.
    """
    if is_blank(value):
        return ()
    if isinstance(value, (str, bytes)):
        return _words(_split((value.decode() if isinstance(value, bytes) else value).strip()))
    return _words(value if isinstance(value, (list, tuple)) else [value])


def write_tags(tags: Iterable[str]) -> str:
    """Write tags as one text that `read_tags` gives back: a|b, or JSON where that would be read as others."""
    tags = tuple(tags)
    text = "|".join(tags)
    return text if not tags or read_back(text) == tags else json.dumps(tags, ensure_ascii=False)


def read_back(text: str) -> tuple[str, ...] | None:
    """What `read_tags` makes of a text, None where it refuses it."""
    try:
        return read_tags(text)
    except ValueError:
        return None


def _words(values: Iterable[Any]) -> tuple[str, ...]:
    return tuple(word for value in values if not is_blank(value) and (word := _word(value)))


def _word(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        return str(int(value))  # a column of years with a gap is one of floats
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"{str(value)[:40]!r} is not a word")
    return str(value).strip()


def _split(text: str) -> Iterable[Any]:
    if is_blank_word(text):
        return ()
    if text[-1] == _BRACKETS.get(text[0]) and (listed := _listed(text)) is not None:
        return listed
    return _separated(text)


def _listed(text: str) -> list[Any] | None:
    """The elements of a list in brackets; None where the text is a sentence that has some."""
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
        return list(_separated(inner))  # an SQL array, which quotes some words only
    if listed is not None or any(mark in inner for mark in "'\""):
        raise ValueError("not a list of words")
    unquoted = text[0] != "(" and not any(mark in inner for mark in "[]{}")
    return list(_separated(inner)) if unquoted else None


def _literals(text: str) -> list[Any] | None:
    """The words and numbers between brackets as Python writes them, with commas or, as NumPy does, without."""
    words: list[Any] = []
    end = (0, 0)
    try:
        tokens = [t for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type not in _LAYOUT]
        for token in tokens[1:-1]:
            if token.type in {tokenize.STRING, tokenize.NUMBER} or token.string in {"None", "True", "False"}:
                if token.start == end:  # 'it''s': SQL's way of writing one word, which Python would read as another
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
    """Words between commas, some of them in quotes; a quote within a word is part of it."""
    try:
        return next(csv.reader([text], skipinitialspace=True, strict=True))
    except csv.Error:
        return text.split(",")
