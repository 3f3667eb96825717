"""A catalog row that cannot be used, and a catalog that cannot be read."""

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
    "tags": "a list of words or one text such as red|blue",
}


class CatalogError(RayreelError):
    """A catalog that cannot be read as a whole."""


@dataclass(frozen=True, slots=True)
class RowProblem:
    """A catalog row that cannot be used. `row` counts from 1; None where the catalog is a folder.

    `detail` is a sentence that names the file, the row and what is wrong, without the secrets of an address.
    """

    row: int | None
    video_id: str
    uri: str
    reason: Reason
    detail: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", redacted(self.detail))


def invalid_row(columns: Mapping[str, Any], where: str, row: int | None, fault: str) -> RowProblem:
    """Make the problem of a row with a fault; `where` names its file and place, `fault` says what is wrong."""
    video_id, uri = (_writable(columns.get(name)) for name in ("video_id", "uri"))
    return RowProblem(row, video_id, uri, Reason.INVALID_ROW, _writable(f"{where}: {fault}."))


def check_row(columns: Mapping[str, Any], where: str, row: int | None) -> CatalogVideo | RowProblem:
    """Make a video of one row's columns; those a video does not know become its `extra`."""
    known = {name: value for name, value in columns.items() if name in COLUMNS}
    extra = {name: value for name, value in columns.items() if name not in COLUMNS}
    try:
        return CatalogVideo(**known, extra=extra)
    except ValidationError as error:
        return invalid_row(columns, where, row, _in_words(error, shown=not scheme_of(where)))


def _in_words(error: ValidationError, *, shown: bool) -> str:
    faults: dict[str, str] = {}
    for fault in error.errors(include_url=False):
        column = str(fault["loc"][1 if fault["loc"][0] == "extra" else 0])
        faults.setdefault(column, _fault(column, fault, shown=shown))
    return "; ".join(faults.values())


def _fault(column: str, fault: ErrorDetails, *, shown: bool) -> str:
    value = fault["input"]
    match fault["type"]:
        case "missing":
            return f"{column} is missing"
        case "string_too_long":
            return f"{column} is longer than {fault['ctx']['max_length']} characters"
        case "lost_digits":
            return f"{column} holds {fault['input']!r}, {fault['msg']}"
        case "string_unicode":
            return f"{column} is not valid UTF-8 text"
    if value is None or (isinstance(value, str) and not value.strip()):
        return f"{column} is empty"
    # A remote catalog's cells are not repeated: see `require`.
    held = repr(value)[:80] if shown else "a value"
    return f"{column} holds {held}, which is not {_EXPECTED.get(column, 'text')}"


def _writable(value: object) -> str:
    """File names and CSV cells may hold bytes that are not UTF-8; the quarantine could not be written with them."""
    text = "" if value is None else str(value)
    return text.encode(errors="backslashreplace").decode()
