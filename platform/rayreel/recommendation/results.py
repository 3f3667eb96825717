"""The results of a recommendation query."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from rayreel.encoders.encoder import Modality


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


@dataclass(frozen=True, slots=True)
class RankedResults:
    """Results from one release, best first."""

    release: int
    results: list[RankedVideo]
