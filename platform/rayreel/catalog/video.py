"""The video of a catalog row."""

import hashlib
import json
import math
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Self

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
        raise PydanticCustomError("lost_digits", "{error}", {"error": str(error)}) from error


def _text(value: Any) -> Any:  # noqa: ANN401
    if is_blank(value):
        return ""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _scalar(value: Any) -> Any:  # noqa: ANN401
    """Convert a value of an extra column to a type that Parquet, JSON and the index support; nested values to JSON."""
    match value:
        case list() | tuple() | dict():
            value = json.dumps(value, ensure_ascii=False, default=_nested)
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
            # pydantic checks this for str fields, but not inside a union.
            raise PydanticCustomError("string_unicode", "not valid Unicode")
    return value


def _nested(value: Any) -> Any:  # noqa: ANN401
    return None if isinstance(value, bytes) else str(value)


Text = Annotated[str, BeforeValidator(_text), StringConstraints(strip_whitespace=True)]


class CatalogVideo(BaseModel):
    """The video of a catalog row.

    `uri` is absolute: a local path, or a file://, s3://, gs:// or https:// URL. It is empty if there is no video: such
    an item is known by its text only. `tags` and `created_at` accept all
    formats of `read_tags` and `read_moment`. A `video_id` that is a whole float loses its .0. `extra` contains the
    catalog's other columns; they are kept in the index, where results can be filtered by them.
    """

    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True)

    video_id: Annotated[str, BeforeValidator(_id), StringConstraints(min_length=1, max_length=512)]
    uri: Text = ""
    title: Text = ""
    description: Text = ""
    category: Text = ""
    tags: Annotated[tuple[str, ...], BeforeValidator(read_tags)] = ()
    created_at: Annotated[datetime | None, BeforeValidator(read_moment)] = None
    extra: dict[str, Annotated[Scalar, BeforeValidator(_scalar)]] = Field(default_factory=dict)

    def text(self) -> str:
        """Return the text for text encoders."""
        return text_of(self.title, self.description, self.tags)

    def without_video(self) -> Self:
        """Return the same item, known by its text only."""
        return self.model_copy(update={"uri": ""})

    def fingerprint(self) -> str:
        """Return a hash of all columns (16 hex digits) that does not depend on their order. A new field changes it."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()


def text_of(title: str, description: str, tags: Iterable[str]) -> str:
    """Return the text for text encoders: title, description and tags, but not the category, which is the label."""
    return ". ".join(part for part in (title, description, " ".join(tags)) if part)
