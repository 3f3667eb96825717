"""Read CSV and TSV files; a malformed row does not affect the rows after it."""

import csv
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from rayreel.catalog.video import Scalar

# A leading zero, or an exponent without a sign such as 12e4, indicates an identifier rather than a number.
_INT = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[+-]?((0|[1-9][0-9]*)?\.[0-9]+([eE][+-]?[0-9]+)?|[1-9][0-9]*([eE][+-][0-9]+|\.))")

LONGEST_CELL = 1 << 22  # characters; the csv module's default of 131,072 is less than the transcript of a talk
csv.field_size_limit(LONGEST_CELL)

Record = tuple[int, list[str], str]
"""Number of the first line, cells, and an error message or ""."""


def read_records(
    text: Iterable[str], delimiter: str, is_row: Callable[[list[str]], bool] = lambda _cells: False
) -> Iterator[Record]:
    """Yield each record of a CSV or TSV file. Skips blank lines and continues after a record it cannot parse.

    `is_row` returns whether cells are certainly a complete row: a quoted cell that runs into such a line is unclosed.
    In TSV, where most programs do not escape quotes, an unmatched quote is part of its cell.
    """
    lines = _Lines(text, lambda line: is_row(_cells_of(line, delimiter)))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        number = lines.start_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            first = lines.rewind()
            yield (number, _split_tsv(first), "") if delimiter == "\t" else (number, [], _message(error))
        else:
            if delimiter == "\t" and not is_row(cells) and is_row(_split_tsv(lines.row[0])):
                cells = _split_tsv(lines.rewind())
            if cells:
                yield number, cells, ""


def parse_cell(cell: str) -> Scalar:
    """Convert a CSV cell to a number or bool; empty cells and nan become None, anything else stays text."""
    cell = cell.strip()
    if cell.lower() in {"", "nan"}:
        return None
    if cell.lower() in {"true", "false"}:
        return cell.lower() == "true"
    if _INT.fullmatch(cell) and len(cell) < 20:
        return int(cell)
    return float(cell) if _FLOAT.fullmatch(cell) else cell


def _cells_of(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return line.rstrip("\r\n").split(delimiter)


def _split_tsv(line: str) -> list[str]:
    """Split a line at tabs; quotes either enclose a whole cell or are part of it."""
    return [_unquoted(cell) for cell in line.rstrip("\r\n").split("\t")]


def _unquoted(cell: str) -> str:
    inner = cell[1:-1]
    whole = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if whole else cell


def _message(error: csv.Error) -> str:
    if "field limit" in str(error):
        return f"a cell is longer than {LONGEST_CELL:,} characters, or its quote is never closed"
    return f"unbalanced quotes ({error}); double the quotes inside a quoted cell"


class _Lines:
    """Iterates over lines and can rewind: after an unclosed quote, csv.reader also consumes the valid rows after it."""

    def __init__(self, lines: Iterable[str], is_row: Callable[[str], bool]) -> None:
        self.lines, self.rewound, self.row = iter(lines), deque[str](), list[str]()
        self.number, self.is_row = 0, is_row

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.rewound.popleft() if self.rewound else next(self.lines)
        if self.row and self.is_row(line):
            self.rewound.appendleft(line)
            raise csv.Error("the next row begins inside a quoted cell")
        self.row.append(line)
        self.number += 1
        return line

    def start_row(self) -> int:
        self.row.clear()
        return self.number + 1

    def rewind(self) -> str:
        """Return the first line of the current row, and yield its other lines again."""
        self.rewound.extendleft(reversed(self.row[1:]))
        self.number -= len(self.row) - 1
        return self.row[0]
