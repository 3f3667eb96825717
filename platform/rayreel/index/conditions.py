"""Filter conditions. Each gives the same result in Python as its expression does in Milvus.

A missing value satisfies no condition, and therefore every negated one. Negation is pushed down to the leaves: Milvus
Lite uses three-valued logic and the server has other rules, but a conjunction of plain true and false is the same in
both.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from rayreel.index.collection import (
    CATEGORY_BYTES,
    EXTRA_TEXT_BYTES,
    ID_BYTES,
    MAX_TAGS,
    TAG_BYTES,
    cut,
    id_list,
    kind_of,
    literal,
)

Row = Mapping[str, Any]
Value = str | bool | float
EXTRA = "extra."
NUMBER_FIELDS = ("created_at", "duration_s")


class Condition(BaseModel):
    """One node of a filter. Hashable, so that it can be a cache key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def matches(self, row: Row) -> bool:
        """Whether a row (video_id, category, tags, created_at, duration_s, extra) satisfies the condition."""
        raise NotImplementedError

    def milvus(self, negated: bool = False) -> str:
        """Return the condition, or its negation, in Milvus' filter language."""
        raise NotImplementedError


class OneOf(Condition):
    """`video_id` or `category` equals one of the values."""

    field: Literal["video_id", "category"]
    values: tuple[str, ...]

    def matches(self, row: Row) -> bool:
        """Compare the value as the index stores it, cut to its bytes."""
        return shortened(row.get(self.field) or "", BYTES[self.field]) in self.values

    def milvus(self, negated: bool = False) -> str:
        """Return an `in` or `not in` expression."""
        return f"{self.field} {'not in' if negated else 'in'} {id_list(self.values)}"


class Tagged(Condition):
    """`tags` contain any of the values, or with `every` all of them."""

    values: tuple[str, ...]
    every: bool = False

    def matches(self, row: Row) -> bool:
        """Compare the first 256 tags, each cut as the index stores it."""
        tags = {shortened(tag, TAG_BYTES) for tag in list(row.get("tags") or ())[:MAX_TAGS]}
        return tags.issuperset(self.values) if self.every else not tags.isdisjoint(self.values)

    def milvus(self, negated: bool = False) -> str:
        """Return an `array_contains_any` or `array_contains_all` expression."""
        condition = f"array_contains_{'all' if self.every else 'any'}(tags, {id_list(self.values)})"
        return f"(not {condition})" if negated else condition


class Equal(Condition):
    """An extra column equals one of the texts, numbers or booleans. Types are strict: 1, true and "1" all differ."""

    key: str
    values: tuple[Value, ...]

    def matches(self, row: Row) -> bool:
        """Compare values of the same type only; texts are cut as the index stores them."""
        stored = extra_value(row, self.key)
        kind = kind_of(stored)
        if kind == "text":
            stored = shortened(stored, EXTRA_TEXT_BYTES)
        return kind is not None and any(kind_of(value) == kind and value == stored for value in self.values)

    def milvus(self, negated: bool = False) -> str:
        """Return one equality test per value, on the column of the value's type."""
        # No `in`: Milvus Lite 3.2 supports it for whole columns only.
        tests = [(_path(str(kind_of(value)), self.key), _literal(value)) for value in self.values]
        parts = [_guarded(path, f"== {value}", f"!= {value}", negated) for path, value in tests]
        return _joined("and" if negated else "or", parts)


class Range(Condition):
    """A number is within bounds; created_at is in epoch seconds, duration_s in seconds."""

    key: str
    gt: float | None = None
    gte: float | None = None
    lt: float | None = None
    lte: float | None = None

    def matches(self, row: Row) -> bool:
        """Compare a number with the bounds; any other type is outside them."""
        stored = extra_value(row, self.key)
        return (
            kind_of(stored) == "number"
            and (self.gt is None or stored > self.gt)
            and (self.gte is None or stored >= self.gte)
            and (self.lt is None or stored < self.lt)
            and (self.lte is None or stored <= self.lte)
        )

    def milvus(self, negated: bool = False) -> str:
        """Return one comparison per bound."""
        bounds = [
            (sign, opposite, bound)
            for sign, opposite, bound in (
                (">", "<=", self.gt),
                (">=", "<", self.gte),
                ("<", ">=", self.lt),
                ("<=", ">", self.lte),
            )
            if bound is not None
        ]
        path = _path("number", self.key)
        parts = [_guarded(path, f"{sign} {bound!r}", f"{not_} {bound!r}", negated) for sign, not_, bound in bounds]
        return _joined("or" if negated else "and", parts)


class And(Condition):
    """All of the conditions hold."""

    conditions: tuple["Filter", ...]

    def matches(self, row: Row) -> bool:
        """Whether all conditions hold."""
        return all(condition.matches(row) for condition in self.conditions)

    def milvus(self, negated: bool = False) -> str:
        """Return a conjunction, or negated a disjunction of negations."""
        return _joined("or" if negated else "and", [condition.milvus(negated) for condition in self.conditions])


class Or(Condition):
    """At least one of the conditions holds."""

    conditions: tuple["Filter", ...]

    def matches(self, row: Row) -> bool:
        """Whether any condition holds."""
        return any(condition.matches(row) for condition in self.conditions)

    def milvus(self, negated: bool = False) -> str:
        """Return a disjunction, or negated a conjunction of negations."""
        return _joined("and" if negated else "or", [condition.milvus(negated) for condition in self.conditions])


class Not(Condition):
    """The condition does not hold."""

    condition: "Filter"

    def matches(self, row: Row) -> bool:
        """Whether the condition does not hold."""
        return not self.condition.matches(row)

    def milvus(self, negated: bool = False) -> str:
        """Return the condition with the opposite negation."""
        return self.condition.milvus(not negated)


Filter = And | Or | Not | OneOf | Tagged | Equal | Range
BYTES = {"video_id": ID_BYTES, "category": CATEGORY_BYTES}
for _model in (And, Or, Not):
    _model.model_rebuild()


def extra_value(row: Row, key: str) -> Any:  # noqa: ANN401
    """Return a row's extra column. created_at and duration_s may be columns of the row or extra columns."""
    if key in NUMBER_FIELDS and row.get(key) is not None:
        return row[key]
    return (row.get("extra") or {}).get(key)


def shortened(text: str, limit: int) -> str:
    """Return a text as stored in the index, which cuts long texts; see `collection.cut`."""
    return text if len(text) * 4 <= limit else cut(text, limit)


def _path(kind: str, key: str) -> str:
    return f'extra["{kind}"]["{key}"]'


def _guarded(path: str, test: str, opposite: str, negated: bool) -> str:
    return f"(not (exists {path}) or {path} {opposite})" if negated else f"{path} {test}"


def _literal(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return literal(value) if isinstance(value, str) else repr(value)


def _joined(word: str, parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else "(" + f" {word} ".join(parts) + ")"
