"""Files that are larger than they may be."""

import io

import pytest

from rayreel.remote.bounds import BoundedReader, Bounds, TooLarge


def text(content: bytes, max_bytes: int = 1000, max_line_bytes: int = 100) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedReader(BoundedReader(io.BytesIO(content), Bounds(max_bytes, "limits.x", max_line_bytes)), 16)
    )


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines_up_to_the_limit_are_read_as_they_are(end: bytes) -> None:
    content = end.join([b"a" * 100, b"", b"b" * 99, b"c"])
    assert text(content).read().splitlines() == [line.decode() for line in content.splitlines()]


@pytest.mark.parametrize("where", ["first", "between", "last"])
def test_a_longer_line_is_refused_wherever_it_stands(where: str) -> None:
    long = b"a" * 101
    content = {"first": long + b"\nb", "between": b"b\n" + long + b"\nb", "last": b"b\n" + long}[where]
    with pytest.raises(TooLarge, match=r"longer than 100 bytes \(limits\.max_catalog_line_bytes\)"):
        text(content).read()


def test_more_bytes_than_the_limit_are_refused_by_name() -> None:
    assert len(text(b"a\n" * 500).read()) == 1000
    with pytest.raises(TooLarge, match=r"more than the 1,000 of limits\.x"):
        text(b"a\n" * 501).read()


def test_a_declared_size_is_refused_before_a_byte_is_read() -> None:
    bounds = Bounds(1000, "limits.x")
    bounds.declare(1000)
    bounds.declare(None)
    with pytest.raises(TooLarge, match="it has 1,001 bytes"):
        bounds.declare(1001)
