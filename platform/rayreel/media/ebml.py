"""Where a Matroska or WebM file says that it ends."""

_SEGMENT = 0x18538067


def segment_end(head: bytes) -> int | None:
    """The file's size by its own first bytes; None where they do not say. A smaller file was cut short."""
    place = 0
    while len(head) - place > 12:  # an element's name and its length
        name = int.from_bytes(head[place : place + _width(head[place])], "big")
        place += _width(head[place])
        width = _width(head[place])
        length = int.from_bytes(head[place : place + width], "big") & ((1 << 7 * width) - 1)
        place += width
        if name == _SEGMENT:
            # All ones is "unknown", which recorders write that never come back to the beginning.
            return None if length == (1 << 7 * width) - 1 else place + length
        place += length
    return None


def _width(first: int) -> int:
    """Bytes of a number that begins with this one."""
    return 9 - first.bit_length()
