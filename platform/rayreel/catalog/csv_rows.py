"""The rows of a CSV file, also behind one that is broken, and the values of its cells."""

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator

from rayreel.catalog.video import Scalar

# A leading zero or a bare 12e4 marks an identifier, not a number.
_INT = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[+-]?((0|[1-9][0-9]*)?\.[0-9]+([eE][+-]?[0-9]+)?|[1-9][0-9]*([eE][+-][0-9]+|\.))")


def read_records(text: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str], str]]:
    """First line, cells and fault of each CSV record; blank lines are none. Goes on behind a record it cannot parse."""
    lines = _Lines(text)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        line = lines.start_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            lines.give_back()
            yield line, [], f"its quotes do not match ({error}); write a quote inside a quoted cell twice"
        else:
            if cells:
                yield line, cells, ""


def parse_cell(cell: str) -> Scalar:
    """Read a number, true or false from a CSV cell; an empty cell or nan is None, everything else text."""
    cell = cell.strip()
    if cell.lower() in {"", "nan"}:
        return None
    if cell.lower() in {"true", "false"}:
        return cell.lower() == "true"
    if _INT.fullmatch(cell) and len(cell) < 20:
        return int(cell)
    return float(cell) if _FLOAT.fullmatch(cell) else cell


class _Lines:
    """A file's lines, with a way back: a quote left open swallows good rows until the parser gives up."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.ahead, self.back, self.row = iter(lines), deque[str](), list[str]()
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.back.popleft() if self.back else next(self.ahead)
        self.row.append(line)
        self.number += 1
        return line

    def start_row(self) -> int:
        self.row.clear()
        return self.number + 1

    def give_back(self) -> None:
        """Keep the row's first line as the broken one and read the others again."""
        self.back.extendleft(reversed(self.row[1:]))
        self.number -= len(self.row) - 1
