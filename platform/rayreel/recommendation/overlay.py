"""Videos that were added to a release or changed after its snapshot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rayreel.encoders.encoder import Modality
from rayreel.index.postings import Postings
from rayreel.release.config import WordsConfig
from rayreel.release.lexicon import documents
from rayreel.release.rows import SAID, Changes, Masked, VideoRow, embeddings, part_embeddings, space_vectors, videos

Parts = dict[Modality, Masked]


@dataclass(frozen=True, eq=False)
class Overlay:
    """The M videos added or changed after the snapshot; few enough to compare a query with all of them."""

    rows: Sequence[VideoRow]
    embeddings_MD: NDArray[np.float32]
    parts: Parts
    spaces: Parts
    documents: Sequence[Mapping[str, float]] = ()
    said: pa.Table = field(default_factory=SAID.empty_table)

    @cached_property
    def postings(self) -> Postings:
        """The words of the videos."""
        return Postings.of(self.documents)

    @cached_property
    def place(self) -> dict[str, int]:
        """Position of each video in the overlay."""
        return {row.video_id: place for place, row in enumerate(self.rows)}

    def changed(self, changes: Changes, config: WordsConfig) -> "Overlay":
        """Return this overlay with `changes` applied; `config`: how their words are searched."""
        gone = changes.deleted | set(changes.rows["video_id"].to_pylist())
        keep = [place for place, row in enumerate(self.rows) if row.video_id not in gone]
        parts = {m: _joined_parts(self.parts[m], keep, part_embeddings(changes.rows, m)) for m in Modality}
        spaces = {
            m: _joined_parts(own, keep, space_vectors(changes.rows, m, own[0].shape[1]))
            for m, own in self.spaces.items()
        }
        embeddings_MD = _joined(self.embeddings_MD[keep], embeddings(changes.rows))
        return Overlay(
            [*(self.rows[place] for place in keep), *videos(changes.rows)],
            embeddings_MD,
            parts,
            spaces,
            [*(self.documents[place] for place in keep), *documents(changes.rows, config)],
            pa.concat_tables([self.said.take(pa.array(keep, pa.int64())), changes.rows.select(SAID.names)]),
        )


def _joined(one_ND: NDArray[np.float32], other_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([one_ND, other_ND]) if len(other_ND) else one_ND


def _joined_parts(
    old: tuple[NDArray[np.float16], NDArray[np.bool_]],
    keep: Sequence[int],
    new: tuple[NDArray[np.float16], NDArray[np.bool_]],
) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
    if not len(new[1]):
        return old[0][keep], old[1][keep]
    return np.concatenate([old[0][keep], new[0]]), np.concatenate([old[1][keep], new[1]])
