"""The serving release in the memory of a replica: a snapshot and the changes since."""

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from heapq import merge
from itertools import chain, islice
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rayreel.encoders.encoder import Modality
from rayreel.errors import RayreelError
from rayreel.index.filters import Filter
from rayreel.index.filters import matches as satisfies
from rayreel.index.postings import matches
from rayreel.index.syntax import WordQuery
from rayreel.index.vocabulary import Vocabulary
from rayreel.index.words import stem
from rayreel.recommendation.overlay import Overlay, Parts
from rayreel.recommendation.query import BadQuery, Vector
from rayreel.recommendation.snapshot_statistics import SnapshotStatistics
from rayreel.release.lexicon import vocabulary
from rayreel.release.rows import (
    ROWS,
    WRITTEN,
    Changes,
    Masked,
    ReleaseRows,
    VideoRow,
    transcript_of,
)
from rayreel.release.snapshot import Snapshot, load_snapshot, snapshot_pointer
from rayreel.speech.transcript import Transcript
from rayreel.storage import Storage

# Words that the beginning of a word stands for; of more, the most frequent.
MAX_WORDS = 256


class UnknownVideo(RayreelError):
    """The release has no video with this id."""


class Live:
    """All videos of one release at one point in time. Immutable: `with_changes` returns the next one.

    A video has a *place*: its row in the snapshot, or N and up for those of the overlay, where N is the length of the
    snapshot. `hidden` are the places of the snapshot that are no longer valid: deleted, or replaced by the overlay.
    """

    def __init__(
        self, snapshot: Snapshot, overlay: Overlay, hidden: frozenset[int], upto: str, statistics: SnapshotStatistics
    ) -> None:
        self.snapshot, self.overlay, self.hidden, self.upto = snapshot, overlay, hidden, upto
        self._statistics = statistics
        self.version = snapshot.version
        self.users = snapshot.users
        self.base = len(snapshot.ids)
        # A memory map wraps each row that is read in an object of its own; an array over the same pages does not.
        self.embeddings_ND = np.asarray(snapshot.embeddings_ND)
        self.neighbours_NK = np.asarray(snapshot.neighbours_NK)
        self.scores_NK = np.asarray(snapshot.scores_NK)
        self._parts: Parts = {m: (np.asarray(snapshot.parts[m]), np.asarray(snapshot.present[m])) for m in Modality}

    @classmethod
    def of(cls, snapshot: Snapshot) -> Self:
        """Return a snapshot without changes."""
        dim = snapshot.embeddings_ND.shape[1]
        empty = np.empty((0, dim), np.float16), np.empty(0, bool)
        spaces = {m: (values_ND[:0], present_N[:0]) for m, (values_ND, present_N) in snapshot.spaces.items()}
        overlay = Overlay([], np.empty((0, dim), np.float32), dict.fromkeys(Modality, empty), spaces)
        return cls(snapshot, overlay, frozenset(), snapshot.upto, SnapshotStatistics(snapshot))

    def with_changes(self, changes: Changes) -> "Live":
        """Return the release after `changes`, which were read after `upto`. Cost is linear in the overlay."""
        if changes.last == self.upto:
            return self
        touched = changes.deleted | set(changes.rows["video_id"].to_pylist())
        hidden = self.hidden | {
            self.snapshot.place[video_id] for video_id in touched if video_id in self.snapshot.place
        }
        return Live(
            self.snapshot, self.overlay.changed(changes, self.snapshot.words), hidden, changes.last, self._statistics
        )

    def absent_from(self, other: "Live") -> set[str]:
        """Return the ids of the videos that another release does not have."""
        added, theirs = self.overlay.place.keys(), other.overlay.place.keys()
        unknown = (self.snapshot.place.keys() | added) - other.snapshot.place.keys()
        hidden = {other.snapshot.ids[place] for place in other.hidden}
        return {video_id for video_id in unknown | hidden if video_id in self and video_id not in theirs}

    def without(self, ids: set[str]) -> "Live":
        """Return the release without some videos, for answers. Later changes apply to this state, not to the result."""
        if not ids:
            return self
        return self.with_changes(Changes(ROWS.empty_table(), ids, f"{self.upto} without {len(ids)}"))

    @property
    def state(self) -> tuple[int, str, str]:
        """What answers depend on besides the query: release, snapshot and overlay."""
        return self.version, self.snapshot.name, self.upto

    @property
    def dim(self) -> int:
        """Width of an embedding."""
        return int(self.embeddings_ND.shape[1])

    def __len__(self) -> int:
        return self.base - len(self.hidden) + len(self.overlay.rows)

    def __contains__(self, video_id: object) -> bool:
        return isinstance(video_id, str) and self.find(video_id) is not None

    def find(self, video_id: str) -> int | None:
        """Return a video's place, or None if the release does not have it."""
        place = self.overlay.place.get(video_id)
        if place is not None:
            return self.base + place
        place = self.snapshot.place.get(video_id)
        return None if place is None or place in self.hidden else place

    def place(self, video_id: str) -> int:
        """Return a video's place.

        Raises:
            UnknownVideo: the release does not have the video.
        """
        place = self.find(video_id)
        if place is None:
            raise UnknownVideo(
                f"{video_id!r} is not in release {self.version}. Add it first, or query by its file instead."
            )
        return place

    def row(self, place: int) -> VideoRow:
        """Return the metadata of the video at a place, as used in results and filters."""
        return self.snapshot.rows[place] if place < self.base else self.overlay.rows[place - self.base]

    def vector(self, place: int) -> Vector:
        """Return the unit embedding of the video at a place, float32 [dim]."""
        inside = place < self.base
        vector: Vector = self.embeddings_ND[place] if inside else self.overlay.embeddings_MD[place - self.base]
        return vector

    def vectors(self, places: Sequence[int]) -> NDArray[np.float32]:
        """Return unit embeddings, float32 [len(places), dim]."""
        places_P = np.asarray(places, np.int64)
        inside_P = places_P < self.base
        found_PD = np.empty((len(places_P), self.dim), np.float32)
        found_PD[inside_P] = self.embeddings_ND[places_P[inside_P]]
        found_PD[~inside_P] = self.overlay.embeddings_MD[places_P[~inside_P] - self.base]
        return found_PD

    def modality_vectors(
        self, places: Sequence[int], modality: Modality
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return unit embeddings [P, dim] from one modality alone, zero if it is absent, and its presence mask [P]."""
        places_P = np.asarray(places, np.int64)
        inside_P = places_P < self.base
        found_PD = np.empty((len(places_P), self.dim), np.float32)
        present_P = np.empty(len(places_P), bool)
        for here_P, offset, parts in ((inside_P, 0, self._parts), (~inside_P, self.base, self.overlay.parts)):
            values_ND, present_N = parts[modality]
            rows = places_P[here_P] - offset
            found_PD[here_P], present_P[here_P] = values_ND[rows], present_N[rows]
        return found_PD, present_P

    def matches(self, query: WordQuery) -> NDArray[np.float32]:
        """Return how well the words of each place match those of a query, in [0, 1]; see `rayreel.index.postings`.

        0 without all words of the query's phrases.
        """
        parts = self.snapshot.postings, self.overlay.postings
        beginnings = (self._starting(beginning) for beginning in query.beginnings)
        found_P = np.concatenate(matches(parts, [*query.words, *beginnings]))
        found_P[list(self.hidden)] = 0
        for word in set(chain.from_iterable(query.phrases)):
            found_P[~np.concatenate([part.have(word) for part in parts])] = 0
        return found_P

    def has_word(self, word: str) -> bool:
        """Whether a video has a word, given without its ending."""
        return any(len(part.find(word)[0]) for part in (self.snapshot.postings, self.overlay.postings))

    def _starting(self, beginning: str) -> tuple[str, ...]:
        """The words, without endings, that start with a text."""
        found = chain.from_iterable(of_part.starting(beginning, MAX_WORDS) for of_part in self.vocabularies)
        return tuple(dict.fromkeys(stem(word, self.snapshot.words.language) for word in found))

    @cached_property
    def vocabularies(self) -> tuple[Vocabulary, Vocabulary]:
        """The words of the snapshot and of the overlay."""
        rows = self.overlay.rows
        columns: dict[str, list[Any]] = {
            "title": [row.title for row in rows],
            "tags": [row.tags for row in rows],
            "description": [row.description for row in rows],
            **{name: [getattr(row, name) for row in rows] for name in WRITTEN.names},
        }
        table = self.overlay.said
        for name, values in columns.items():
            table = table.append_column(name, pa.array(values, ROWS.field(name).type))
        return self.snapshot.vocabulary, vocabulary(table, self.snapshot.words)

    def transcript(self, place: int) -> Transcript:
        """Return what is said in the video at a place."""
        if place < self.base:
            return transcript_of(self.snapshot.said, place)
        return transcript_of(self.overlay.said, place - self.base)

    def parts(self, place: int) -> dict[Modality, Vector]:
        """Return a video's single-modality embeddings, float32 [dim], for the modalities it has."""
        found = {modality: self.modality_vectors([place], modality) for modality in Modality}
        return {modality: values_1D[0] for modality, (values_1D, present_1) in found.items() if present_1[0]}

    def space(self, modality: Modality) -> tuple[Masked, Masked]:
        """Return the encoder's own vectors, of the snapshot and of the overlay, float16 and zero where absent.

        Raises:
            BadQuery: the release keeps none.
        """
        if modality not in self.snapshot.spaces:
            raise BadQuery(
                f"Release {self.version} does not keep the {modality} encoder's own vectors. Add {modality} to "
                f"release.spaces, run `rayreel index --version {self.version}`, and restart the service."
            )
        return self.snapshot.spaces[modality], self.overlay.spaces[modality]

    def page(self, after: str, count: int, condition: Filter | None = None) -> list[VideoRow]:
        """Return up to `count` videos in order of id, starting after the id `after`; "" starts at the first.

        Only those that satisfy `condition`, if given.
        """
        added = (row for row in self._added if row.video_id > after)
        start = bisect_right(self.snapshot.ids, after)
        kept = (self.snapshot.rows[place] for place in range(start, self.base) if place not in self.hidden)
        rows: Iterator[VideoRow] = merge(kept, added, key=lambda row: row.video_id)
        if condition is not None:
            rows = (row for row in rows if satisfies(condition, row.fields()))
        return list(islice(rows, count))

    def contents(self, hashes: Collection[str]) -> set[str]:
        """Return which of these content hashes videos of the release have."""
        inside = (row for place, row in enumerate(self.snapshot.rows) if place not in self.hidden)
        found = (row.content_hash for row in chain(inside, self.overlay.rows))
        return {content for content in found if content is not None and content in hashes}

    def verdicts(self, condition: Filter) -> bytearray:
        """Return the cached results of a filter by place of the snapshot; see `SnapshotStatistics`."""
        return self._statistics.verdicts(condition)

    @property
    def mean_cosine(self) -> float:
        """Mean cosine of two videos of the snapshot."""
        return self._statistics.mean_cosine

    @cached_property
    def coded_places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places of the videos that the user tower has codes for, and their codes."""
        codes_N, added = self._statistics.codes_N, [row.video_id for row in self.overlay.rows]
        codes_P = np.concatenate([codes_N, np.zeros(0, np.int64) if self.users is None else self.users.codes_of(added)])
        places_K = np.flatnonzero(codes_P)
        return places_K, codes_P[places_K]

    def category_mean(self, category: str) -> Vector | None:
        """Return the mean of a category's videos as a unit vector [dim]; None if it has none or they cancel out."""
        total_D = self._statistics.sums.get(category, np.zeros(self.dim)).copy()
        for place in self._changed(category):
            total_D += self.vector(place) if place >= self.base else -self.embeddings_ND[place]
        length = float(np.linalg.norm(total_D))
        return (total_D / length).astype(np.float32) if length > 1e-4 else None

    def _changed(self, category: str) -> list[int]:
        """Places of a category that are in the snapshot but no longer in the release, or added since."""
        places = [*self.hidden, *range(self.base, self.base + len(self.overlay.rows))]
        return [place for place in places if self.row(place).category == category]

    @cached_property
    def _added(self) -> list[VideoRow]:
        return sorted(self.overlay.rows, key=lambda row: row.video_id)


def load_live(storage: Storage, version: int, cache_dir: Path, before: Live | None = None) -> Live | None:
    """Return a release with all its changes, None if it has no snapshot; `before` itself if nothing changed since.

    `before` is an earlier state of any release; `cache_dir`, the folder for local copies of snapshots. Blocks.

    >>> live = load_live(Storage("demo"), version=1, cache_dir=Path("cache"))
    >>> len(live), "v07" in live, live.row(live.place("v07")).title
    (48, True, 'film v07')
    """
    pointer = snapshot_pointer(storage, version)
    if pointer is None:
        return None
    if before is None or before.version != version or before.snapshot.name != pointer["name"]:
        before = Live.of(load_snapshot(storage, version, cache_dir))
    return before.with_changes(ReleaseRows(storage, version).read(after=before.upto))
