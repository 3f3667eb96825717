import pytest

from rayreel.catalog.csv_rows import parse_cell, read_records


def test_records_come_with_their_first_line_and_blank_lines_are_none() -> None:
    text = ["a,b\n", "\n", '"one\n', 'two",2\n', "3,4\n"]
    assert list(read_records(text, ",")) == [(1, ["a", "b"], ""), (3, ["one\ntwo", "2"], ""), (5, ["3", "4"], "")]


def test_reading_goes_on_behind_every_quote_left_open() -> None:
    text = ["a,b\n", '1,"open\n', "2,x\n", '3,"open too\n', "4,x\n"]
    records = list(read_records(text, ","))
    assert [(line, cells) for line, cells, _ in records] == [
        (1, ["a", "b"]),
        (2, []),
        (3, ["2", "x"]),
        (4, []),
        (5, ["4", "x"]),
    ]
    assert ["quotes do not match" in fault for *_, fault in records] == [False, True, False, True, False]


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
def test_an_extra_csv_cell_becomes_a_number_only_where_it_is_one(cell: str, value: object) -> None:
    assert parse_cell(cell) == value and type(parse_cell(cell)) is type(value)
