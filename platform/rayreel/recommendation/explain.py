"""Explain why videos were recommended."""

from collections.abc import Sequence

import numpy as np

from rayreel.encoders.encoder import Modality
from rayreel.recommendation.live import Live
from rayreel.recommendation.query import Vector
from rayreel.recommendation.results import ResultExplanation


def explanations(live: Live, places: Sequence[int], stages: Sequence[str], query: Vector) -> list[ResultExplanation]:
    """Return for each video its stage and the cosines of the unit query with its single-modality embeddings.

    `query`: [dim], or one per interest [I, dim], of which the nearest to the video is used.
    """
    queries_ID = np.atleast_2d(query)
    queries_PD = queries_ID[np.argmax(live.vectors(places) @ queries_ID.T, axis=1)]
    cosines: list[dict[Modality, float]] = [{} for _ in places]
    for modality in Modality:
        values_PD, present_P = live.modality_vectors(places, modality)
        scores_P = np.einsum("pd,pd->p", values_PD, queries_PD).round(6).tolist()
        for of_video, score, present in zip(cosines, scores_P, present_P.tolist(), strict=True):
            if present:
                of_video[modality] = score
    return [ResultExplanation(stage, of_video) for stage, of_video in zip(stages, cosines, strict=True)]
