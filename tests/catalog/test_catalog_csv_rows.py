import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayreel.catalog.csv_rows import LONGEST_CELL, parse_cell, read_records
from steady import steady


def test_records_have_the_number_of_their_first_line_and_blank_lines_are_skipped() -> None:
    text = ["a,b\n", "\n", '"one\n', 'two",2\n', "3,4\n"]
    assert list(read_records(text, ",")) == [(1, ["a", "b"], ""), (3, ["one\ntwo", "2"], ""), (5, ["3", "4"], "")]


def test_reading_continues_after_every_unclosed_quote() -> None:
    text = ["a,b\n", '1,"open\n', "2,x\n", '3,"open too\n', "4,x\n"]
    records = list(read_records(text, ","))
    assert [(line, cells) for line, cells, _ in records] == [
        (1, ["a", "b"]),
        (2, []),
        (3, ["2", "x"]),
        (4, []),
        (5, ["4", "x"]),
    ]
    assert ["unbalanced quotes" in error for *_, error in records] == [False, True, False, True, False]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("12", 12),
        ("-3", -3),
        ("2.5", 2.5),
        (".5", 0.5),
        ("1e-05", 1e-5),
        ("True", True),
        ("false", False),
        ("", None),
        ("NaN", None),
        ("007", "007"),
        ("12e4", "12e4"),
        ("1_000", "1_000"),
        ("9" * 25, "9" * 25),
        ("v1.2.3", "v1.2.3"),
    ],
)
def test_an_extra_csv_cell_becomes_a_number_only_if_it_is_one(cell: str, value: object) -> None:
    assert parse_cell(cell) == value and type(parse_cell(cell)) is type(value)


def cells(text: str, delimiter: str, columns: int) -> list[list[str]]:
    records = read_records(text.splitlines(keepends=True), delimiter, lambda row: len(row) == columns)
    return [row if not error else [error] for _, row, error in records]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('"Hello" she said', '"Hello" she said'),
        ('"Unclosed', '"Unclosed'),
        ('5" screen', '5" screen'),
        ('"', '"'),
        ('say "hi"', 'say "hi"'),
        ('"He said ""hi"""', 'He said "hi"'),
        ('"a\ttab"', "a\ttab"),
        ('"two\nlines"', "two\nlines"),
    ],
)
def test_a_quote_in_tab_separated_text_encloses_a_whole_cell_or_is_part_of_it(written: str, read: str) -> None:
    text = f'1\t{written}\tx\n2\tplain\ty\n3\tlast"\tz\n'
    assert cells(text, "\t", 3) == [["1", read, "x"], ["2", "plain", "y"], ["3", 'last"', "z"]]


def test_quotes_closed_in_another_cell_or_row_are_part_of_their_cells() -> None:
    assert cells('1\t"a\tb"\n2\t"c\td\nshort\n3\tx\ty"\n', "\t", 3) == [
        ["1", '"a', 'b"'],
        ["2", '"c', "d"],
        ["short"],
        ["3", "x", 'y"'],
    ]


def test_an_unclosed_quote_does_not_consume_the_rows_up_to_the_next_quote() -> None:
    rows = cells('1,"open\n2,plain\n3,x"\n4,"two\nlines"\n', ",", 2)
    assert ["unbalanced quotes" in row[0] for row in rows] == [True, False, False, False]
    assert rows[1:] == [["2", "plain"], ["3", 'x"'], ["4", "two\nlines"]]


def test_a_cell_may_be_as_long_as_a_transcript_but_not_unlimited() -> None:
    rows = cells(f"1,{'word ' * 40_000}\n2,{'x' * (LONGEST_CELL + 1)}\n3,y\n", ",", 2)
    assert [len(row[-1]) for row in (rows[0], rows[2])] == [200_000, 1]
    assert "longer than 4,194,304 characters" in rows[1][0]


PLAIN = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=8)


@steady
@given(st.lists(st.tuples(PLAIN, PLAIN), min_size=1, max_size=6))
def test_unquoted_tsv_reads_back_as_written(rows: list[tuple[str, str]]) -> None:
    rows = [(a, b) for a, b in rows if not any(c.startswith('"') and c.endswith('"') for c in (a, b))]
    text = "".join(f"{a}\t{b}\n" for a, b in rows)
    assert cells(text, "\t", 2) == [list(row) for row in rows]


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@steady
@given(st.lists(st.tuples(PLAIN, TEXT), min_size=1, max_size=6), st.sampled_from([",", "\t"]))
def test_output_of_csv_writer_reads_back_as_written(rows: list[tuple[str, str]], delimiter: str) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter).writerows(rows)
    file.seek(0)
    # Without `is_row`, since any line of text may look like a row of two columns.
    assert [row for _, row, _ in read_records(file, delimiter)] == [list(row) for row in rows]
