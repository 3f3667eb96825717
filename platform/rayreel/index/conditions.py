"""What a filter is made of; each condition decides in Python exactly as Milvus does by the expression it gives.

An absent value satisfies no condition, and so satisfies every negated one. Negation is driven down to the leaves:
Milvus Lite's logic has three values, a server's its own, and a conjunction of plain yes and no is the same in all.
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
MOMENTS = ("created_at", "duration_s")


class Condition(BaseModel):
    """One node of a filter. Hashable, so that answers can be cached by it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def matches(self, row: Row) -> bool:
        """Whether a row (video_id, category, tags, created_at, duration_s, extra) satisfies it."""
        raise NotImplementedError

    def milvus(self, negated: bool = False) -> str:
        """The condition, or its negation, in Milvus' filter language."""
        raise NotImplementedError


class OneOf(Condition):
    """`video_id` or `category` is one of some texts."""

    field: Literal["video_id", "category"]
    values: tuple[str, ...]

    def matches(self, row: Row) -> bool:
        """See `Condition`."""
        return shortened(row.get(self.field) or "", BYTES[self.field]) in self.values

    def milvus(self, negated: bool = False) -> str:
        """See `Condition`."""
        return f"{self.field} {'not in' if negated else 'in'} {id_list(self.values)}"


class Tagged(Condition):
    """`tags` hold any, or all, of some texts."""

    values: tuple[str, ...]
    every: bool = False

    def matches(self, row: Row) -> bool:
        """See `Condition`."""
        held = {shortened(tag, TAG_BYTES) for tag in list(row.get("tags") or ())[:MAX_TAGS]}
        return held.issuperset(self.values) if self.every else not held.isdisjoint(self.values)

    def milvus(self, negated: bool = False) -> str:
        """See `Condition`."""
        condition = f"array_contains_{'all' if self.every else 'any'}(tags, {id_list(self.values)})"
        return f"(not {condition})" if negated else condition


class Equal(Condition):
    """A column of the catalog's own is one of some texts, numbers or booleans; 1 is not true, and "1" is neither."""

    key: str
    values: tuple[Value, ...]

    def matches(self, row: Row) -> bool:
        """See `Condition`."""
        held = own(row, self.key)
        kind = kind_of(held)
        if kind == "text":
            held = shortened(held, EXTRA_TEXT_BYTES)
        return kind is not None and any(kind_of(value) == kind and value == held for value in self.values)

    def milvus(self, negated: bool = False) -> str:
        """See `Condition`."""
        # Not by `in`: Milvus Lite 3.2 takes it for whole columns only.
        tests = [(_path(str(kind_of(value)), self.key), _shown(value)) for value in self.values]
        parts = [_guarded(path, f"== {shown}", f"!= {shown}", negated) for path, shown in tests]
        return _joined("and" if negated else "or", parts)


class Range(Condition):
    """A number lies between bounds; created_at is in epoch seconds, duration_s in seconds."""

    key: str
    gt: float | None = None
    gte: float | None = None
    lt: float | None = None
    lte: float | None = None

    def matches(self, row: Row) -> bool:
        """See `Condition`."""
        held = own(row, self.key)
        return (
            kind_of(held) == "number"
            and (self.gt is None or held > self.gt)
            and (self.gte is None or held >= self.gte)
            and (self.lt is None or held < self.lt)
            and (self.lte is None or held <= self.lte)
        )

    def milvus(self, negated: bool = False) -> str:
        """See `Condition`."""
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
    """Every one of some conditions."""

    conditions: tuple["Filter", ...]

    def matches(self, row: Row) -> bool:
        """See `Condition`."""
        return all(condition.matches(row) for condition in self.conditions)

    def milvus(self, negated: bool = False) -> str:
        """See `Condition`."""
        return _joined("or" if negated else "and", [condition.milvus(negated) for condition in self.conditions])


class Or(Condition):
    """At least one of some conditions."""

    conditions: tuple["Filter", ...]

    def matches(self, row: Row) -> bool:
        """See `Condition`."""
        return any(condition.matches(row) for condition in self.conditions)

    def milvus(self, negated: bool = False) -> str:
        """See `Condition`."""
        return _joined("and" if negated else "or", [condition.milvus(negated) for condition in self.conditions])


class Not(Condition):
    """Whatever a condition does not hold for."""

    condition: "Filter"

    def matches(self, row: Row) -> bool:
        """See `Condition`."""
        return not self.condition.matches(row)

    def milvus(self, negated: bool = False) -> str:
        """See `Condition`."""
        return self.condition.milvus(not negated)


Filter = And | Or | Not | OneOf | Tagged | Equal | Range
BYTES = {"video_id": ID_BYTES, "category": CATEGORY_BYTES}
for _model in (And, Or, Not):
    _model.model_rebuild()


def own(row: Row, key: str) -> Any:  # noqa: ANN401
    """A row's own column; created_at and duration_s stand beside the others or among them."""
    if key in MOMENTS and row.get(key) is not None:
        return row[key]
    return (row.get("extra") or {}).get(key)


def shortened(text: str, limit: int) -> str:
    """What the index keeps of a text: it cuts long ones, see `collection.cut`."""
    return text if len(text) * 4 <= limit else cut(text, limit)


def _path(kind: str, key: str) -> str:
    return f'extra["{kind}"]["{key}"]'


def _guarded(path: str, test: str, opposite: str, negated: bool) -> str:
    return f"(not (exists {path}) or {path} {opposite})" if negated else f"{path} {test}"


def _shown(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return literal(value) if isinstance(value, str) else repr(value)


def _joined(word: str, parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else "(" + f" {word} ".join(parts) + ")"
