"""The catalog row: one video a team has."""

import hashlib
import json
import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from rayreel.catalog.blank import is_blank
from rayreel.catalog.ids import id_value
from rayreel.catalog.moments import read_moment
from rayreel.catalog.tags import read_tags

Scalar = str | int | float | bool | None


def _id(value: Any) -> Any:  # noqa: ANN401
    try:
        return id_value(value)
    except ValueError as error:
        raise PydanticCustomError("lost_digits", "{fault}", {"fault": str(error)}) from error


def _text(value: Any) -> Any:  # noqa: ANN401
    if is_blank(value):
        return ""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _scalar(value: Any) -> Any:  # noqa: ANN401
    """Reduce a catalog's own column to what Parquet, JSON and the index can all hold; nested values become JSON."""
    match value:
        case list() | tuple() | dict():
            value = json.dumps(value, ensure_ascii=False, default=_within)
        case Decimal():
            value = float(value)
        case timedelta():
            value = value.total_seconds()
        case datetime() | date() | time():
            value = None if is_blank(value) else value.isoformat()
        case bytes():
            value = None
        case None | str() | int() | float():
            pass
        case _:
            value = str(value)
    return _storable(value)


def _storable(value: Scalar) -> Scalar:
    match value:
        case float() if not math.isfinite(value):
            return None
        case int() if not -(2**63) <= value < 2**63:
            return str(value)
        case str() if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            # pydantic checks this for its own text fields, but not inside a union.
            raise PydanticCustomError("string_unicode", "not valid Unicode")
    return value


def _within(value: Any) -> Any:  # noqa: ANN401
    return None if isinstance(value, bytes) else str(value)


Text = Annotated[str, BeforeValidator(_text), StringConstraints(strip_whitespace=True)]


class CatalogVideo(BaseModel):
    """One catalog row.

    `uri` is absolute: a local path, or file://, s3://, gs://, https://. `tags` and `created_at` take whatever
    `read_tags` and `read_moment` read. A `video_id` that is a whole float is written without .0. `extra` keeps a
    catalog's own columns; they survive to the index, where results can be filtered by them.
    """

    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True)

    video_id: Annotated[str, BeforeValidator(_id), StringConstraints(min_length=1, max_length=512)]
    uri: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    title: Text = ""
    description: Text = ""
    category: Text = ""
    tags: Annotated[tuple[str, ...], BeforeValidator(read_tags)] = ()
    created_at: Annotated[datetime | None, BeforeValidator(read_moment)] = None
    extra: dict[str, Annotated[Scalar, BeforeValidator(_scalar)]] = Field(default_factory=dict)

    def text(self) -> str:
        """What a text encoder reads of this video: title, description and tags. Never the category: it is the label."""
        return ". ".join(part for part in (self.title, self.description, " ".join(self.tags)) if part)

    def fingerprint(self) -> str:
        """Changes when any column of the row changes, not when columns change places (16 hex digits)."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()
