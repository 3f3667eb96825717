"""Responses as JSON. They are our own data, so pydantic does not validate them."""

from typing import Any

from pydantic_core import to_json

from rayreel.recommendation.results import RankedResults, RankedVideo


def rendered(answer: RankedResults) -> bytes:
    """Return the JSON of `rayreel.client.messages.Recommendations`."""
    return to_json({"release": answer.release, "results": [_result(found) for found in answer.results]})


def _result(found: RankedVideo) -> dict[str, Any]:
    result: dict[str, Any] = {
        "video_id": found.video_id,
        "score": round(found.score, 6),
        "title": found.title,
        "category": found.category,
        "tags": found.tags,
        "metadata": found.extra,
    }
    if found.explanation is not None:
        result["explanation"] = {"stage": found.explanation.stage, "modalities": found.explanation.modalities}
    return result
