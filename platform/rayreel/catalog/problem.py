"""Errors of catalogs and of their rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rayreel.catalog.moments import EXPECTED as A_DATE
from rayreel.catalog.video import CatalogVideo
from rayreel.errors import RayreelError
from rayreel.failures import Reason
from rayreel.redact import redacted
from rayreel.remote.address import scheme_of

COLUMNS = frozenset(CatalogVideo.model_fields) - {"extra"}

_EXPECTED = {
    "created_at": A_DATE,
    "tags": "a list of words or a text such as red|blue",
}


class CatalogError(RayreelError):
    """The catalog as a whole cannot be read."""


@dataclass(frozen=True, slots=True)
class RowProblem:
    """A catalog row that cannot be used. `row` starts at 1 and is None if the catalog is a folder.

    `detail` is a sentence with the file, the row and the error; credentials and query strings of URLs are removed.
    `video` is the row if only its video cannot be used.
    """

    row: int | None
    video_id: str
    uri: str
    reason: Reason
    detail: str
    video: CatalogVideo | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", redacted(self.detail))


def invalid_row(columns: Mapping[str, Any], where: str, row: int | None, error: str) -> RowProblem:
    """Return the problem of an invalid row; `where` is its file and position."""
    video_id, uri = (_encodable(columns.get(name)) for name in ("video_id", "uri"))
    return RowProblem(row, video_id, uri, Reason.INVALID_ROW, _encodable(f"{where}: {error}."))


def check_row(columns: Mapping[str, Any], where: str, row: int | None) -> CatalogVideo | RowProblem:
    """Validate a row's columns and return a video, or a problem. Unknown columns become its `extra`."""
    known = {name: value for name, value in columns.items() if name in COLUMNS}
    extra = {name: value for name, value in columns.items() if name not in COLUMNS}
    try:
        video = CatalogVideo(**known, extra=extra)
    except ValidationError as error:
        return invalid_row(columns, where, row, _message(error, show_values=not scheme_of(where)))
    if not (video.uri or video.text()):
        return invalid_row(columns, where, row, "uri is empty, and so are title, description and tags")
    return video


def _message(error: ValidationError, *, show_values: bool) -> str:
    messages: dict[str, str] = {}
    for details in error.errors(include_url=False):
        column = str(details["loc"][1 if details["loc"][0] == "extra" else 0])
        messages.setdefault(column, _column_message(column, details, show_value=show_values))
    return "; ".join(messages.values())


def _column_message(column: str, details: ErrorDetails, *, show_value: bool) -> str:
    value = details["input"]
    match details["type"]:
        case "missing":
            return f"{column} is missing"
        case "string_too_long":
            return f"{column} is longer than {details['ctx']['max_length']} characters"
        case "lost_digits":
            return f"{column} is {value!r}, {details['msg']}"
        case "string_unicode":
            return f"{column} is not valid UTF-8 text"
    if value is None or (isinstance(value, str) and not value.strip()):
        return f"{column} is empty"
    # Values of a remote catalog are not repeated; see `require`.
    found = repr(value)[:80] if show_value else "invalid"
    return f"{column} is {found}, expected {_EXPECTED.get(column, 'text')}"


def _encodable(value: object) -> str:
    """Escape the bytes of file names and CSV cells that are not UTF-8 and could not be written to the quarantine."""
    text = "" if value is None else str(value)
    return text.encode(errors="backslashreplace").decode()
