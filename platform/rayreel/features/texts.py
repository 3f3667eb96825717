"""What a text encoder reads of a row: what is written about a video, and what is said in it."""

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from rayreel.catalog.columns import texts_of
from rayreel.encoders.encoder import TextEncoder, Vectors

# About half of the 256 tokens that all-MiniLM-L6-v2 reads.
PASSAGE_CHARACTERS = 500
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])")  # noqa: RUF001 - full-width marks end sentences in CJK


def text_vectors(encoder: TextEncoder, rows: pa.Table) -> tuple[Vectors, list[int]]:
    """Return the vectors of all rows, [sum of counts, D], and how many each has.

    What is written gives one vector, and what is said another: the mean over its passages, so that a long speech
    outweighs no title. Failed rows have none.
    """
    good = rows["reason"].is_null().to_pylist()
    spoken = rows["transcript"].to_pylist() if "transcript" in rows.column_names else [None] * rows.num_rows
    written = zip(texts_of(rows), spoken, good, strict=True)
    groups = [
        [*([[text]] if text else []), *([passages(said)] if said else [])] if ok else [] for text, said, ok in written
    ]
    parts = [part for group in groups for part in group]
    return _means(encoder.encode([one for part in parts for one in part]), parts), [len(group) for group in groups]


def passages(text: str, most: int = PASSAGE_CHARACTERS) -> list[str]:
    """Split a text into passages of whole sentences; each begins with the last sentence of the one before.

    A sentence of more than `most` characters is cut.

    >>> passages("One two. Three four. Five six.", most=22)
    ['One two. Three four.', 'Three four. Five six.']
    """
    sentences = [piece for sentence in _SENTENCE_END.split(text.strip()) for piece in _cut(sentence, most) if piece]
    found: list[list[str]] = []
    for sentence in sentences:
        if found and len(" ".join([*found[-1], sentence])) <= most:
            found[-1].append(sentence)
        else:
            last = found[-1][-1:] if found else []
            found.append([*last, sentence] if len(" ".join([*last, sentence])) <= most else [sentence])
    return [" ".join(part) for part in found]


def _cut(sentence: str, most: int) -> list[str]:
    return [sentence[start : start + most] for start in range(0, len(sentence), most)]


def _means(vectors_ND: Vectors, parts: Sequence[Sequence[str]]) -> Vectors:
    if not parts:
        return vectors_ND
    sizes = np.array([len(part) for part in parts])
    starts = np.cumsum(sizes) - sizes
    means_PD: Vectors = np.divide(np.add.reduceat(vectors_ND, starts), sizes[:, None], dtype=np.float32)
    return means_PD
