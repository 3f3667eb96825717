"""What each source of text contributes: the ranking by text, and that of frozen features, with and without it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rayreel.encoders.encoder import Modality, TextEncoder, Vectors
from rayreel.encoders.text_weights import TextWeights
from rayreel.errors import RayreelError
from rayreel.evaluation.comparison import MethodComparison, Score, Section, Versus
from rayreel.evaluation.content import pooled
from rayreel.evaluation.evaluate import comparison_on, list_inputs
from rayreel.evaluation.exam import Exam, Part, Protocol
from rayreel.evaluation.frozen import fit_frozen_features
from rayreel.features.matrix import FeatureMatrix, Ragged
from rayreel.features.texts import text_vectors
from rayreel.tower.embed import embed

ALL = "all sources"
_COLUMNS = {
    "title": ("title",),
    "description": ("description",),
    "tags": ("tags",),
    "transcript": ("transcript",),
    "summary": ("summary", "topics", "rewritten_title"),
}
_PROTOCOLS = (Protocol.CATEGORY, Protocol.TAGS, Protocol.CO_WATCH)


@dataclass(frozen=True, slots=True)
class TextSources:
    """The sources of text in a ranking, and the headline metric of text alone and of frozen features.

    `videos`: how many have a text left. The differences are those of `ALL` minus these.
    """

    name: str
    videos: int
    text: Score
    mix: Score
    text_lost: Versus | None = None
    mix_lost: Versus | None = None


class RememberedTexts:
    """A text encoder that encodes each text once: most texts of one selection of sources are in another one too."""

    def __init__(self, encoder: TextEncoder) -> None:
        self.identity, self.dim = encoder.identity, encoder.dim
        self._encoder, self._known = encoder, dict[str, Vectors]()

    def encode(self, texts: list[str], *, query: bool = False) -> Vectors:
        """Map N strings to [N, dim]."""
        assert not query, "videos are compared"
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known.update(zip(new, self._encoder.encode(new), strict=True))
        return np.stack([self._known[text] for text in texts]) if texts else np.empty((0, self.dim), np.float32)

    def knows(self, word: str) -> bool:
        """That of the encoder."""
        return self._encoder.knows(word)


def compare_text_sources(
    exam: Exam, encoder: TextEncoder, weights: TextWeights | None, part: Part = "test"
) -> tuple[Section, list[TextSources]]:
    """Encode texts without and with only each source, and rank the videos of a part with them.

    Of the tasks by category, tags and co-watches, the first that the catalog allows; returns its section and a row for
    each selection, the first with all sources. A summary that the features do not have is added for comparison. Takes a
    pass of the text encoder for each different text. Raises RayreelError without a query or without a text.
    """
    tasks = ((protocol, exam.task(protocol, part)) for protocol in _PROTOCOLS)
    protocol, task = next((found for found in tasks if found[1] is not None), (None, None))
    if protocol is None or task is None:
        raise RayreelError("Sources of text cannot be compared: no held-out video shares a category, tag or viewer.")
    exam = replace(exam, config=exam.config.model_copy(update={"ks": (exam.config.at,)}))
    lists, remembered = list_inputs(exam), RememberedTexts(encoder)
    by_text, by_mix = (comparison_on(exam, protocol, part, task, lists) for _ in range(2))
    videos: dict[str, int] = {}
    for name, rows, weighted in _selections(exam.matrix.rows, weights):
        matrix = _with_texts(exam.matrix, rows, remembered, weighted)
        videos[name] = int(np.count_nonzero(matrix.vectors[Modality.TEXT].counts))
        frozen = fit_frozen_features(replace(exam, matrix=matrix))
        by_text.add(name, task.by(pooled(matrix, {Modality.TEXT: 1.0})))
        by_mix.add(name, task.by(embed(frozen, matrix)))
    text, mix = _finished(by_text, protocol), _finished(by_mix, protocol)
    return text, [_row(name, count, text, mix) for name, count in videos.items()]


def _selections(rows: pa.Table, weights: TextWeights | None) -> Iterator[tuple[str, pa.Table, TextWeights | None]]:
    """Yield names of selections with the rows that have only these sources, and the weights."""
    present = [source for source in _COLUMNS if _count(rows, source)]
    used = [name for name in present if name != "summary" or (weights is not None and weights.summary)]
    if not used:
        raise RayreelError("Sources of text cannot be compared: no video has a title or another text.")
    yield ALL, rows, weights
    for source in used if len(used) > 1 else ():
        yield f"without {source}", _without(rows, [source]), weights
    for source in used if len(used) > 2 else ():  # of two, each is alone without the other
        yield f"{source} only", _without(rows, [other for other in _COLUMNS if other != source]), weights
    if "summary" in set(present) - set(used):
        weights = weights or TextWeights()
        yield "each source by itself", rows, weights
        yield "each by itself, and summary", rows, weights.model_copy(update={"summary": 1.0})


def _count(rows: pa.Table, source: str) -> int:
    first = rows[_COLUMNS[source][0]]
    length = pc.list_value_length(first) if source == "tags" else pc.utf8_length(first)
    return int(pc.sum(pc.greater(length, 0)).as_py() or 0)


def _without(rows: pa.Table, sources: list[str]) -> pa.Table:
    for name in (name for source in sources for name in _COLUMNS[source]):
        at, kind = rows.schema.get_field_index(name), rows.schema.field(name).type
        nothing: str | list[str] = [] if pa.types.is_list(kind) else ""
        rows = rows.set_column(at, rows.schema.field(at), pa.array([nothing] * rows.num_rows, kind))
    return rows


def _with_texts(
    matrix: FeatureMatrix, rows: pa.Table, encoder: TextEncoder, weights: TextWeights | None
) -> FeatureMatrix:
    vectors, counts = text_vectors(encoder, rows, weights)
    ragged = Ragged(vectors.astype(np.float16), np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
    return FeatureMatrix({**matrix.vectors, Modality.TEXT: ragged}, matrix.rows)


def _finished(comparison: MethodComparison, protocol: Protocol) -> Section:
    return comparison.finish()[protocol]


def _row(name: str, videos: int, text: Section, mix: Section) -> TextSources:
    metric = text.headline
    lost = (section.versus.get(name, {}).get(metric) for section in (text, mix))
    return TextSources(name, videos, text.scores[name][metric], mix.scores[name][metric], *lost)
