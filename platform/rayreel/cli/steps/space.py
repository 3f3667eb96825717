"""Similar videos and neighbours in the space of one encoder, from the feature store: no release is needed."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rayreel.cli.output import console, step
from rayreel.cli.results import results_table
from rayreel.cli.steps.local import query_video, video_vectors
from rayreel.cli.steps.similar import poster_of
from rayreel.cli.steps.train import features
from rayreel.encoders.encoder import Modality
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.metric import Metric
from rayreel.features.space import EncoderSpace
from rayreel.features.store import FeatureStore, NoFeatures
from rayreel.recommendation.export import neighbour_rows
from rayreel.recommendation.live import UnknownVideo
from rayreel.recommendation.query import BadQuery, Vector
from rayreel.recommendation.results import RankedVideo
from rayreel.settings import Settings


def find_in_space(settings: Settings, query: str, k: int, modality: Modality, metric: Metric) -> dict[str, Any]:
    """Show the k videos nearest to a video of the feature store or, if it has none of that id, to a file.

    Returns the result for --json.
    """
    store = features(settings)
    space, name = _open(store, modality, metric), _score(metric)
    ids = space.rows["video_id"].to_pylist()
    if query in ids:
        own = ids.index(query)
        rows_K, scores_K = space.nearest(space.vectors_ND[own], k + 1)
        found = _ranked(space, rows_K[rows_K != own][:k], scores_K[rows_K != own][:k])
    else:
        found = _ranked(space, *space.nearest(_of_file(settings, store, query, modality), k))
    title = f"Similar to {query} · {modality}, {metric}"
    console.print(results_table(title, found, name, lambda video: poster_of(settings.place, video.content_hash)))
    results = [{"video_id": v.video_id, name: v.score, "title": v.title, "category": v.category} for v in found]
    return {"encoder": store.key.identities[modality], "metric": metric, "query": query, "results": results}


def neighbours_in_space(settings: Settings, top: int, modality: Modality, metric: Metric) -> tuple[pa.Table, int]:
    """Return the `top` nearest others of every video, as `neighbours_table` does, and the number of videos."""
    store = features(settings)
    space = _open(store, modality, metric)
    step(
        f"Writing the {top} nearest videos of each of {len(space.rows)} by {metric} of {store.key.identities[modality]}"
    )
    ids = space.rows["video_id"].combine_chunks()
    return neighbour_rows(ids, *space.neighbours(top), score=_score(metric)), len(ids)


def _open(store: FeatureStore, modality: Modality, metric: Metric) -> EncoderSpace:
    space = EncoderSpace.of(FeatureMatrix.from_table(store.read()), modality, metric)
    if not len(space.rows):
        raise NoFeatures(f"No video of {store.features} has {modality} features. Choose another --encoder.")
    return space


def _of_file(settings: Settings, store: FeatureStore, query: str, modality: Modality) -> Vector:
    """Return the mean vector [D] of a video file."""
    if not Path(query).is_file():
        raise UnknownVideo(
            f"{query!r} is neither a file nor a video with {modality} features in {store.features}. Extract it first."
        )
    step(f"Encoding {query} with {store.key.identities[modality]}")
    vectors_ND = video_vectors(settings, store, query_video(Path(query)))[modality]
    if not len(vectors_ND):
        raise BadQuery(f"{query} has no {modality}. Choose another --encoder.")
    mean_D: Vector = vectors_ND.mean(axis=0)
    return mean_D


def _ranked(space: EncoderSpace, rows_K: NDArray[np.int64], scores_K: NDArray[np.float64]) -> list[RankedVideo]:
    names = ("video_id", "title", "category", "content_hash")
    columns = [space.rows[name].take(pa.array(rows_K)).to_pylist() for name in names]
    return [
        RankedVideo(video_id, score, title, category, (), {}, content_hash=content)
        for video_id, title, category, content, score in zip(*columns, scores_K.tolist(), strict=True)
    ]


def _score(metric: Metric) -> str:
    return "score" if metric is Metric.COSINE else "distance"
