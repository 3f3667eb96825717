"""What a recommendation is made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from rayreel.encoders.encoder import Modality


class Explanation(NamedTuple):
    """Where a result comes from.

    `stage` is the last one that it needed to be there: neighbours (kept with the release), overlay (added since),
    index, bm25 (found by its words alone), mmr (chosen for being different), serendipity (another category). The
    cosines are of the query with the video as seen by one modality alone; absent modalities are left out.
    """

    stage: str
    modalities: dict[Modality, float]


class Found(NamedTuple):
    """One result. The score is the cosine of its embedding and the query's; in a hybrid answer RRF's."""

    video_id: str
    score: float
    title: str
    category: str
    tags: tuple[str, ...]
    extra: Mapping[str, Any]
    explanation: Explanation | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Results of one release, best first."""

    release: int
    results: list[Found]
