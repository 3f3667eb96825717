from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayreel.catalog.id_column import id_texts
from rayreel.catalog.ids import TextIds, id_value
from steady import steady


@pytest.mark.parametrize(
    ("value", "read"),
    [(101.0, 101), (-3.0, -3), (1.5, 1.5), (Decimal("101.00"), 101), ("101.0", "101.0"), (7, 7), (float("nan"), None)],
)
def test_a_whole_float_is_a_whole_number(value: object, read: object) -> None:
    assert id_value(value) == read


def test_a_float_that_may_stand_for_two_ids_is_refused() -> None:
    assert float(2**53) == float(2**53 + 1)
    for refuse in (lambda: id_value(float(2**53)), lambda: id_texts(pa.array([1.0, float(2**53)]))):
        with pytest.raises(ValueError, match="too large to keep every digit"):
            refuse()


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (["101.0", "102.0"], ["101", "102"]),
        (["101.0", None, "nan", ""], ["101", None, "nan", ""]),
        (["1.0", "1.1"], ["1.0", "1.1"]),
        (["1.0", "x"], ["1.0", "x"]),
        (["00101", "101"], ["00101", "101"]),
        (["0101.0"], ["0101.0"]),
        (["1e5", "1.10"], ["1e5", "1.10"]),
        ([], []),
        ([None], [None]),
    ],
)
def test_texts_lose_their_point_zero_only_where_all_have_one(given: list[str | None], read: list[str | None]) -> None:
    assert id_texts(pa.array(given, pa.string())).to_pylist() == read
    assert one_by_one(given) == read


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64(), pa.int64(), pa.string(), pa.string_view()])
def test_every_type_of_column_gives_the_same_text(kind: pa.DataType) -> None:
    assert id_texts(
        pa.array([101, 102]).cast(pa.string() if kind == pa.string_view() else kind).cast(kind)
    ).to_pylist() == ["101", "102"]


@steady
@given(
    st.lists(
        st.one_of(st.none(), st.sampled_from(["1.0", "-2.0", "0.0", "01.0", "7", "x", "nan", "", "1.05"])), max_size=6
    )
)
def test_a_catalog_and_interactions_decide_alike(given: list[str | None]) -> None:
    assert id_texts(pa.array(given, pa.string())).to_pylist() == one_by_one(given)


@steady
@given(st.integers(-(2**53) + 1, 2**53 - 1))
def test_any_whole_number_survives_being_a_float(number: int) -> None:
    assert id_value(float(number)) == number
    assert id_texts(pa.array([float(number)])).to_pylist() == [str(number)]


def one_by_one(given: list[str | None]) -> list[str | None]:
    ids = TextIds()
    for value in given:
        ids.see(value)
    return given if ids.mixed else [TextIds.plain(value) for value in given]
