"""Filters as users write them: a small JSON grammar, validated here, never a string passed on to Milvus.

`{"category": "sport"}`, `{"tags": {"any": ["ball", "net"]}}`, `{"extra.views": {"gte": 100}}`, `{"not": {...}}`,
`{"or": [{...}, {...}]}`; several keys in one object are joined by "and".
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, cast

from rayreel.errors import RayreelError
from rayreel.index.collection import EXTRA_TEXT_BYTES, TAG_BYTES
from rayreel.index.conditions import (
    BYTES,
    EXTRA,
    NUMBER_FIELDS,
    And,
    Equal,
    Filter,
    Not,
    OneOf,
    Or,
    Range,
    Tagged,
    shortened,
)

__all__ = ["BadFilter", "Filter", "matches", "parse_filter", "to_milvus"]

DEPTH = 5
TERMS = 64
VALUES = 200
TEXT_CHARACTERS = 4096
# Up to here doubles represent every integer; beyond, engines disagree on which integers are equal.
LARGEST = 2.0**53
BOUNDS = ("gt", "gte", "lt", "lte")
KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


class BadFilter(RayreelError):
    """The filter is invalid. The message starts with the place of the error."""


def parse_filter(value: Any, place: str = "filter") -> Filter:  # noqa: ANN401
    """Parse a filter from JSON values.

    Limits: 5 levels, 64 conditions, 200 values in a list, 4096 characters in a text, numbers up to 2**53 in magnitude.

    Raises:
        BadFilter: the filter is not valid or exceeds a limit.

    >>> condition = parse_filter({"category": "sport", "extra.views": {"gte": 100}})
    >>> matches(condition, {"category": "sport", "extra": {"views": 7}})
    False
    >>> parse_filter({"views": 7})
    Traceback (most recent call last):
    rayreel.index.filters.BadFilter: filter.views: unknown field. Use video_id, category, tags, ...
    """
    parsed = _object(value, place, DEPTH)
    if (terms := _terms(parsed)) > TERMS:
        raise BadFilter(f"{place}: {terms} conditions, at most {TERMS} allowed. Combine values of one field with 'in'.")
    return parsed


def to_milvus(condition: Filter) -> str:
    """Return the filter as a Milvus expression, with all texts escaped.

    >>> print(to_milvus(parse_filter({"category": {"in": ["sport", "music"]}, "duration_s": {"lt": 60}})))
    (category in ["sport", "music"] and extra["number"]["duration_s"] < 60.0)
    """
    return condition.milvus()


def matches(condition: Filter, row: Mapping[str, Any]) -> bool:
    """Whether a row satisfies the filter, with the same result as in Milvus.

    Args:
        condition: result of `parse_filter`.
        row: video_id, category, tags, extra (a dict), created_at in epoch seconds and duration_s; any may be missing.

    >>> matches(parse_filter({"not": {"tags": {"any": ["loud", "fast"]}}}), {"tags": ["calm", "fast"]})
    False
    """
    return condition.matches(row)


def _object(value: Any, place: str, depth: int) -> Filter:  # noqa: ANN401
    if not isinstance(value, Mapping) or not value:
        raise BadFilter(f'{place}: expected an object with at least one condition, such as {{"category": "sport"}}.')
    if depth == 0:
        raise BadFilter(f"{place}: nested deeper than {DEPTH} levels. Flatten the filter.")
    parts = [_condition(key, item, f"{place}.{key}", depth) for key, item in value.items()]
    return parts[0] if len(parts) == 1 else And(conditions=tuple(parts))


def _condition(key: Any, value: Any, place: str, depth: int) -> Filter:  # noqa: ANN401
    match key:
        case "and" | "or":
            parts = tuple(_object(part, f"{place}[{n}]", depth - 1) for n, part in enumerate(_list(value, place)))
            return And(conditions=parts) if key == "and" else Or(conditions=parts)
        case "not":
            return Not(condition=_object(value, place, depth - 1))
        case "video_id" | "category":
            field = cast("Literal['video_id', 'category']", key)
            texts = [_text(text, place, BYTES[field]) for text in _one_of(value, place)]
            return OneOf(field=field, values=tuple(texts))
        case "tags":
            return _tagged(value, place)
        case "created_at" | "duration_s":
            return _range(key, value, place)
        case str() if key.startswith(EXTRA) and KEY.fullmatch(key.removeprefix(EXTRA)):
            return _extra(key.removeprefix(EXTRA), value, place)
    raise BadFilter(
        f"{place}: unknown field. Use video_id, category, tags, {', '.join(NUMBER_FIELDS)}, extra.<key> (letters, "
        "digits and _), and, or, not."
    )


def _extra(key: str, value: Any, place: str) -> Filter:  # noqa: ANN401
    if isinstance(value, Mapping) and not value.keys() <= {"in"}:
        return _range(key, value, place)
    return Equal(key=key, values=tuple(_scalar(item, place) for item in _one_of(value, place)))


def _tagged(value: Any, place: str) -> Tagged:  # noqa: ANN401
    if isinstance(value, Mapping) and len(value) == 1 and (operator := next(iter(value))) in ("any", "all"):
        texts = [
            _text(text, f"{place}.{operator}", TAG_BYTES) for text in _list(value[operator], f"{place}.{operator}")
        ]
        return Tagged(values=tuple(texts), every=operator == "all")
    raise BadFilter(f'{place}: expected {{"any": [...]}} or {{"all": [...]}}.')


def _range(key: str, value: Any, place: str) -> Range:  # noqa: ANN401
    if not isinstance(value, Mapping) or not value or not value.keys() <= set(BOUNDS):
        raise BadFilter(f"{place}: expected an object with bounds: {', '.join(BOUNDS)}.")
    return Range(key=key, **{bound: _number(number, f"{place}.{bound}") for bound, number in value.items()})


def _one_of(value: Any, place: str) -> list[Any]:  # noqa: ANN401
    """A single value is a list of one."""
    if not isinstance(value, Mapping):
        return [value]
    if value.keys() != {"in"}:
        raise BadFilter(f'{place}: expected a value or {{"in": [...]}}.')
    return _list(value["in"], f"{place}.in")


def _list(value: Any, place: str) -> list[Any]:  # noqa: ANN401
    if not isinstance(value, (list, tuple)) or not 1 <= len(value) <= VALUES:
        raise BadFilter(f"{place}: expected a list of 1 to {VALUES} values.")
    return list(value)


def _scalar(value: Any, place: str) -> str | bool | float:  # noqa: ANN401
    if isinstance(value, bool):
        return value
    return _text(value, place, EXTRA_TEXT_BYTES) if isinstance(value, str) else _number(value, place)


def _text(value: Any, place: str, limit: int) -> str:  # noqa: ANN401
    if not isinstance(value, str) or len(value) > TEXT_CHARACTERS:
        raise BadFilter(f"{place}: expected a text of at most {TEXT_CHARACTERS} characters.")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise BadFilter(f"{place}: the text is not valid Unicode.")
    return shortened(value, limit)


def _number(value: Any, place: str) -> float:  # noqa: ANN401
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= LARGEST:
        raise BadFilter(f"{place}: expected a number between -2**53 and 2**53.")
    return float(value)


def _terms(condition: Filter) -> int:
    match condition:
        case And() | Or():
            return sum(map(_terms, condition.conditions))
        case Not():
            return _terms(condition.condition)
    return 1
