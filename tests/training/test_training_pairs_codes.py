import pyarrow as pa

from rayreel.training.pairs.sources import NONE, codes_of


def test_equal_texts_have_one_code_across_chunks_and_blanks_have_none() -> None:
    codes = codes_of(pa.chunked_array([["a", None, "b"], [], ["b", "", "a"]], pa.string()))
    assert codes[0] == codes[5]
    assert codes[2] == codes[3]
    assert codes[0] != codes[2]
    assert codes[1] == codes[4] == NONE
