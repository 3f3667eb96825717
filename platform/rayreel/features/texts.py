"""What a text encoder reads of a row: what is written about a video, and what is said in it."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from rayreel.catalog.columns import texts_of
from rayreel.catalog.video import CatalogVideo
from rayreel.encoders.encoder import TextEncoder, Vectors
from rayreel.encoders.text_weights import TextWeights

# About half of the 256 tokens that all-MiniLM-L6-v2 reads.
PASSAGE_CHARACTERS = 500
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])")  # noqa: RUF001 - full-width marks end sentences in CJK


Parts = list[tuple[float, str]]
"""Texts with their weights."""


def text_vectors(encoder: TextEncoder, rows: pa.Table, weights: TextWeights | None = None) -> tuple[Vectors, list[int]]:
    """Return the vectors of all rows, [sum of counts, D], and how many each has.

    What is written gives one vector, and what is said another: the mean over its passages, so that a long speech
    outweighs no title. With `weights`, a row has one vector: the weighted mean of those of its fields. Failed rows have
    none.
    """
    good = [True] * rows.num_rows
    if "reason" in rows.column_names:
        good = rows["reason"].is_null().to_pylist()
    groups = _weighted_parts(rows, weights) if weights else _written_and_said(rows)
    groups = [group if ok else [] for group, ok in zip(groups, good, strict=True)]
    parts = [part for group in groups for part in group]
    return means_of(encoder.encode([text for part in parts for _, text in part]), parts), [len(some) for some in groups]


def parts_of(fields: Mapping[str, str], weights: TextWeights) -> Parts:
    """Return the passages of a video's fields by name, with the weights of fields shared among their passages.

    >>> parts_of({"title": "Waves", "transcript": "", "tags": "sea"}, TextWeights(title=2, tags=0.5))
    [(2.0, 'Waves'), (0.5, 'sea')]
    """
    found: Parts = []
    for name, weight in weights:
        pieces = passages(fields.get(name, "")) if weight else []
        found += [(weight / len(pieces), piece) for piece in pieces]
    return found


def written_fields(video: CatalogVideo) -> dict[str, str]:
    """Return the fields of a video of which only what is written is known."""
    return {"title": video.title, "description": video.description, "tags": " ".join(video.tags)}


def means_of(vectors_ND: Vectors, parts: Sequence[Parts]) -> Vectors:
    """Return the weighted means [parts, D] of vectors, which are in the order of the parts' texts."""
    if not parts:
        return vectors_ND
    starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
    weights_N1 = np.array([[weight] for part in parts for weight, _ in part], np.float32)
    sums_PD = np.add.reduceat(vectors_ND * weights_N1, starts)
    means_PD: Vectors = np.divide(sums_PD, np.add.reduceat(weights_N1, starts), dtype=np.float32)
    return means_PD


def enriched_texts(rows: pa.Table) -> list[str]:
    """Return all that a language model wrote about each video of rows with columns of ENRICHED."""
    columns = (rows[name].to_pylist() for name in ("rewritten_title", "summary", "topics"))
    return [
        "\n".join(part for part in (title, summary, *(topics or ())) if part)
        for title, summary, topics in zip(*columns, strict=True)
    ]


def _written_and_said(rows: pa.Table) -> list[list[Parts]]:
    groups = zip(texts_of(rows), _column(rows, "transcript"), strict=True)
    split = ([*([[text]] if text else []), *([passages(said)] if said else [])] for text, said in groups)
    return [[[(1.0, piece) for piece in part] for part in group] for group in split]


def _weighted_parts(rows: pa.Table, weights: TextWeights) -> list[list[Parts]]:
    fields = {name: _column(rows, name) for name in ("title", "description", "transcript")}
    fields["tags"] = [" ".join(tags or ()) for tags in rows["tags"].to_pylist()]
    fields["summary"] = enriched_texts(rows) if "summary" in rows.column_names else [""] * rows.num_rows
    each = (dict(zip(fields, texts, strict=True)) for texts in zip(*fields.values(), strict=True))
    return [[parts] if (parts := parts_of(texts, weights)) else [] for texts in each]


def _column(rows: pa.Table, name: str) -> list[str]:
    found = rows[name].to_pylist() if name in rows.column_names else [None] * rows.num_rows
    return [text or "" for text in found]


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
