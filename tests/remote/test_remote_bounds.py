"""Files over the size limits."""

import io

import pytest

from rayreel.remote.bounds import BoundedReader, Bounds, TooLarge


def text(content: bytes, max_bytes: int = 1000, max_line_bytes: int = 100) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedReader(BoundedReader(io.BytesIO(content), Bounds(max_bytes, "limits.x", max_line_bytes)), 16)
    )


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines_up_to_the_limit_are_read_unchanged(end: bytes) -> None:
    content = end.join([b"a" * 100, b"", b"b" * 99, b"c"])
    assert text(content).read().splitlines() == [line.decode() for line in content.splitlines()]


@pytest.mark.parametrize("position", ["first", "middle", "last"])
def test_a_line_over_the_limit_is_rejected_at_any_position(position: str) -> None:
    long = b"a" * 101
    content = {"first": long + b"\nb", "middle": b"b\n" + long + b"\nb", "last": b"b\n" + long}[position]
    with pytest.raises(TooLarge, match=r"longer than 100 bytes \(limits\.max_catalog_line_bytes\)"):
        text(content).read()


def test_a_file_over_the_limit_raises_an_error_with_the_name_of_the_setting() -> None:
    assert len(text(b"a\n" * 500).read()) == 1000
    with pytest.raises(TooLarge, match=r"more than 1,000 bytes \(limits\.x\)"):
        text(b"a\n" * 501).read()


def test_a_declared_size_over_the_limit_is_rejected() -> None:
    bounds = Bounds(1000, "limits.x")
    bounds.check_declared(1000)
    bounds.check_declared(None)
    with pytest.raises(TooLarge, match="it has 1,001 bytes"):
        bounds.check_declared(1001)
