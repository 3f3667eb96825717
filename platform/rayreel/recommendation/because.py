"""Because you watched X: the video of the history that a result is nearest to."""

from collections.abc import Sequence
from dataclasses import replace

from rayreel.recommendation.live import Live
from rayreel.recommendation.results import Because, RankedResults
from rayreel.recommendation.users import WatchedVideo


def with_reasons(live: Live, found: RankedResults, history: Sequence[WatchedVideo]) -> RankedResults:
    """Add to each explanation the watched video nearest to the result, with the cosine of the two."""
    places = [place for video in history if (place := live.find(video.video_id)) is not None]
    if not places or not found.results:
        return found
    results_RD = live.vectors([live.place(video.video_id) for video in found])
    cosines_RH = results_RD @ live.vectors(places).T
    reasons = []
    for video, cosines_H in zip(found, cosines_RH, strict=True):
        best = int(cosines_H.argmax())
        row = live.row(places[best])
        because = Because(row.video_id, row.title, round(float(cosines_H[best]), 6))
        explanation = video.explanation and video.explanation._replace(because=because)
        reasons.append(video._replace(explanation=explanation))
    return replace(found, results=reasons)
