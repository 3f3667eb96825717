"""The catalog row: one video a team has."""

import hashlib
import json
import math
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

Scalar = str | int | float | bool | None


def _absent(value: Any) -> bool:  # noqa: ANN401
    """Data frames write a missing cell as NaN, CSV as an empty one."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _split_tags(value: Any) -> Any:  # noqa: ANN401
    """A CSV cell holds tags as `a|b`; other formats hold a list."""
    if _absent(value):
        return ()
    if isinstance(value, str):
        return tuple(tag for part in value.split("|") if (tag := part.strip()))
    if isinstance(value, (list, tuple)):
        return tuple(tag for tag in value if not _absent(tag))
    return value


def _text(value: Any) -> Any:  # noqa: ANN401
    return "" if _absent(value) else value


def _moment(value: Any) -> Any:  # noqa: ANN401
    """Take 20240131 as a date and refuse shorter numbers: pydantic would read both as seconds after 1970."""
    if _absent(value):
        return None
    digits = str(value).strip()
    if isinstance(value, (str, int)) and digits.isdecimal() and len(digits) <= 8:
        return datetime.fromisoformat(digits)
    return value


def _utc(value: datetime | None) -> datetime | None:
    if value is None:
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _scalar(value: Any) -> Any:  # noqa: ANN401
    """Reduce a catalog's own column to what Parquet, JSON and the index can all hold; nested values become JSON."""
    match value:
        case Decimal():
            return _scalar(float(value))
        case float() if not math.isfinite(value):
            return None
        case int() if not -(2**63) <= value < 2**63:
            return str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case list() | tuple() | dict():
            return _scalar(json.dumps(value, ensure_ascii=False, default=str))
        case str() if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            # pydantic checks this for its own text fields, but not inside a union.
            raise PydanticCustomError("string_unicode", "not valid Unicode")
    return value


Text = Annotated[str, BeforeValidator(_text), StringConstraints(strip_whitespace=True)]


class Video(BaseModel):
    """One catalog row.

    `uri` is absolute: a local path, or file://, s3://, gs://, https://. `created_at` takes ISO dates, 20240131 and
    epoch seconds or milliseconds, UTC unless it names a zone. `extra` keeps a catalog's own columns; they survive to
    the index, where results can be filtered by them.
    """

    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True)

    video_id: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=512)]
    uri: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    title: Text = ""
    description: Text = ""
    category: Text = ""
    tags: Annotated[tuple[str, ...], BeforeValidator(_split_tags)] = ()
    created_at: Annotated[datetime | None, BeforeValidator(_moment), AfterValidator(_utc)] = None
    extra: dict[str, Annotated[Scalar, BeforeValidator(_scalar)]] = Field(default_factory=dict)

    def text(self) -> str:
        """What a text encoder reads of this video: title, description and tags. Never the category: it is the label."""
        return ". ".join(part for part in (self.title, self.description, " ".join(self.tags)) if part)

    def fingerprint(self) -> str:
        """Changes when any column of the row changes, not when columns change places (16 hex digits)."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()
