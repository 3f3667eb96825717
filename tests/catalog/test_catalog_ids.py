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
def test_a_whole_float_becomes_an_integer(value: object, read: object) -> None:
    assert id_value(value) == read


def test_a_float_that_may_be_either_of_two_ids_is_rejected() -> None:
    assert float(2**53) == float(2**53 + 1)
    with pytest.raises(ValueError, match="too large to represent every digit"):
        id_value(float(2**53))
    with pytest.raises(ValueError, match="too large to represent every digit"):
        id_texts(pa.array([1.0, float(2**53)]))


@pytest.mark.parametrize(
    ("written", "read"),
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
def test_texts_lose_their_point_zero_only_if_all_have_one(written: list[str | None], read: list[str | None]) -> None:
    assert id_texts(pa.array(written, pa.string())).to_pylist() == read
    assert one_by_one(written) == read


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64(), pa.int64(), pa.string(), pa.string_view()])
def test_every_column_type_gives_the_same_text(kind: pa.DataType) -> None:
    assert id_texts(
        pa.array([101, 102]).cast(pa.string() if kind == pa.string_view() else kind).cast(kind)
    ).to_pylist() == ["101", "102"]


@steady
@given(
    st.lists(
        st.one_of(st.none(), st.sampled_from(["1.0", "-2.0", "0.0", "01.0", "7", "x", "nan", "", "1.05"])), max_size=6
    )
)
def test_catalogs_and_interactions_convert_ids_in_the_same_way(written: list[str | None]) -> None:
    assert id_texts(pa.array(written, pa.string())).to_pylist() == one_by_one(written)


@steady
@given(st.integers(-(2**53) + 1, 2**53 - 1))
def test_any_integer_survives_conversion_to_float(number: int) -> None:
    assert id_value(float(number)) == number
    assert id_texts(pa.array([float(number)])).to_pylist() == [str(number)]


def one_by_one(values: list[str | None]) -> list[str | None]:
    ids = TextIds()
    for value in values:
        ids.add(value)
    return values if ids.mixed else [TextIds.plain(value) for value in values]
