"""The size that a Matroska or WebM file declares."""

_SEGMENT = 0x18538067


def segment_end(head: bytes) -> int | None:
    """Return the file size declared in the first bytes, `head`; None if there is none. A smaller file is truncated."""
    place = 0
    while len(head) - place > 12:  # room for an element's ID and its size
        name = int.from_bytes(head[place : place + _width(head[place])], "big")
        place += _width(head[place])
        width = _width(head[place])
        length = int.from_bytes(head[place : place + width], "big") & ((1 << 7 * width) - 1)
        place += width
        if name == _SEGMENT:
            # All ones means "unknown": live recorders never return to the header to write the size.
            return None if length == (1 << 7 * width) - 1 else place + length
        place += length
    return None


def _width(first: int) -> int:
    """Return the number of bytes of an EBML number, from its first byte."""
    return 9 - first.bit_length()
