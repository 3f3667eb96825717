"""A whole column of ids as text; apart from `ids`, since decoders import that and must not load Arrow."""

import pyarrow as pa
import pyarrow.compute as pc

from rayreel.catalog.ids import EXACT_BELOW, FLOAT, LOST_DIGITS


def id_texts(ids: pa.Array) -> pa.Array:
    """Make text of a column of ids, whole floats without .0, as `id_value` and `TextIds` do one by one.

    Raises ValueError where floats have lost digits.
    """
    if pa.types.is_floating(ids.type):
        return _of_floats(pc.cast(ids, pa.float64()))
    texts = pc.utf8_trim_whitespace(pc.cast(ids, pa.string()))
    seen = texts.filter(pc.invert(pc.is_in(pc.utf8_lower(texts), pa.array(["", "nan", "none", "null", "<na>"]))))
    floats = len(seen) > seen.null_count and pc.all(pc.match_substring_regex(seen, f"^{FLOAT}$")).as_py()
    return pc.replace_substring_regex(texts, r"\.0$", "") if floats else texts


def _of_floats(ids: pa.Array) -> pa.Array:
    if pc.any(pc.greater_equal(pc.abs(ids), float(EXACT_BELOW))).as_py():
        raise ValueError(f"it holds {LOST_DIGITS}")
    whole = pc.equal(ids, pc.round(ids))
    numbers = pc.cast(pc.if_else(whole, ids, None), pa.int64())
    return pc.if_else(whole, pc.cast(numbers, pa.string()), pc.cast(ids, pa.string()))
