"""What is known of the videos that a language model describes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from rayreel.features.store import FeatureStore, NoFeatures, open_store
from rayreel.storage import Storage

_COLUMNS = ("video_id", "version", "title", "description", "tags", "transcript", "content_hash")
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Subject:
    """A current video: what is written and said. `content_hash` is None without a video."""

    video_id: str
    version: str
    title: str
    description: str
    tags: tuple[str, ...]
    transcript: str
    content_hash: str | None

    @property
    def pair(self) -> Pair:
        """What identifies its feature row."""
        return self.video_id, self.version

    @property
    def length(self) -> int:
        """Characters that are known of it."""
        return len(self.title) + len(self.description) + sum(map(len, self.tags)) + len(self.transcript)


def stores_of(storage: Storage) -> list[FeatureStore]:
    """Return the feature stores below a root. They share the catalog."""
    return [open_store(storage, name) for name in storage.folders(storage.path("features"))]


def read_subjects(storage: Storage, views: pa.Table | None = None, max_views: int | None = None) -> list[Subject]:
    """Return the current videos: those with the fewest views first, and of these, those with the least text.

    `max_views` leaves out videos with more views in the interactions `views`. Raises NoFeatures if there are none.
    """
    found = {subject.pair: subject for store in stores_of(storage) for subject in _subjects(store)}
    if not found:
        raise NoFeatures(f"No features below {storage.root}. Run `rayreel extract --catalog …` first.")
    seen: Counter[str] = Counter({} if views is None else _counts(views))
    few = [one for one in found.values() if max_views is None or seen[one.video_id] <= max_views]
    return sorted(few, key=lambda one: (seen[one.video_id], one.length, one.pair))


def _subjects(store: FeatureStore) -> Iterator[Subject]:
    with suppress(NoFeatures):  # of another catalog
        for values in zip(*store.read(_COLUMNS).to_pydict().values(), strict=True):
            yield _subject(values)


def _subject(values: Sequence[object]) -> Subject:
    video_id, version, title, description, tags, transcript, content_hash = values
    assert isinstance(tags, list | None)
    return Subject(
        str(video_id),
        str(version),
        str(title or ""),
        str(description or ""),
        tuple(tags or ()),
        str(transcript or ""),
        None if content_hash is None else str(content_hash),
    )


def _counts(views: pa.Table) -> dict[str, int]:
    return {row["values"]: row["counts"] for row in pc.value_counts(views["video_id"].combine_chunks()).to_pylist()}
