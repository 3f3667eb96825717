"""Convert a column of ids to text. Not in `ids`, because decoder processes import that and must not load Arrow."""

import pyarrow as pa
import pyarrow.compute as pc

from rayreel.catalog.ids import EXACT_BELOW, FLOAT, LOST_DIGITS


def id_texts(ids: pa.Array) -> pa.Array:
    """Convert a column of ids to text without the .0 of whole floats: `id_value` and `TextIds` for a whole column.

    Raises ValueError if a float is too large to represent every digit.
    """
    if pa.types.is_floating(ids.type):
        return _floats_to_text(pc.cast(ids, pa.float64()))
    texts = pc.utf8_trim_whitespace(pc.cast(ids, pa.string()))
    values = texts.filter(pc.invert(pc.is_in(pc.utf8_lower(texts), pa.array(["", "nan", "none", "null", "<na>"]))))
    floats = len(values) > values.null_count and pc.all(pc.match_substring_regex(values, f"^{FLOAT}$")).as_py()
    return pc.replace_substring_regex(texts, r"\.0$", "") if floats else texts


def _floats_to_text(ids: pa.Array) -> pa.Array:
    if pc.any(pc.greater_equal(pc.abs(ids), float(EXACT_BELOW))).as_py():
        raise ValueError(f"it contains {LOST_DIGITS}")
    whole = pc.equal(ids, pc.round(ids))
    numbers = pc.cast(pc.if_else(whole, ids, None), pa.int64())
    return pc.if_else(whole, pc.cast(numbers, pa.string()), pc.cast(ids, pa.string()))
