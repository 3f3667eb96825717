"""The results of a recommendation query."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from rayreel.encoders.encoder import Modality

if TYPE_CHECKING:
    import pandas as pd


class ResultExplanation(NamedTuple):
    """Why a video is among the results.

    `stage` is the last step that the result depended on: neighbours (stored with the release), overlay (added after the
    snapshot), index, bm25 (found only by its words), mmr (chosen for diversity) or serendipity (another category).
    `modalities` are the cosines of the query with the video embedded from one modality alone; absent ones are omitted.
    """

    stage: str
    modalities: dict[Modality, float]


class RankedVideo(NamedTuple):
    """One result. The score is the cosine of its embedding and the query, or the RRF score in a hybrid search."""

    video_id: str
    score: float
    title: str
    category: str
    tags: tuple[str, ...]
    extra: Mapping[str, Any]
    explanation: ResultExplanation | None = None


@dataclass(frozen=True, slots=True, repr=False)
class RankedResults:
    """Results from one release, best first. Can be iterated and indexed; notebooks show a table."""

    release: int
    results: list[RankedVideo]

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[RankedVideo]:
        return iter(self.results)

    def __getitem__(self, rank: int) -> RankedVideo:
        return self.results[rank]

    def __repr__(self) -> str:
        rows = [f"{found.score:7.3f}  {found.video_id}  {found.category}  {found.title}" for found in self]
        return "\n".join([f"{len(self)} results of release {self.release}", *rows])

    def to_pandas(self) -> "pd.DataFrame":
        """Return a table with one row per result; explained results have their stage and the modalities' cosines."""
        import pandas as pd

        return pd.DataFrame([_row(found) for found in self], columns=None if self.results else list(_COLUMNS))

    def _repr_html_(self) -> str:
        return self.to_pandas().to_html()


_COLUMNS = ("video_id", "score", "title", "category", "tags", "metadata")


def _row(found: RankedVideo) -> dict[str, Any]:
    row = dict(zip(_COLUMNS, found[:6], strict=True))
    if found.explanation is not None:
        row |= {"stage": found.explanation.stage} | {m.value: c for m, c in found.explanation.modalities.items()}
    return row
