"""The nearest videos of every video of a release, as a table."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rayreel.recommendation.live import Live
from rayreel.release.neighbours import Neighbours, exact_neighbours


def neighbours_table(live: Live, top: int) -> pa.Table:
    """Return the `top` nearest others of each video: video_id, rank from 1, neighbour_id and score, the cosine.

    Rows are in order of video_id, then rank. Neighbours are exact. Those stored with the snapshot are used if nothing
    has changed since and they are enough; otherwise all are computed again.
    """
    ids = pa.array([row.video_id for row in live.page("", len(live))], pa.string())
    nearest_NK, scores_NK = _neighbours(live, ids.to_pylist(), top)
    return neighbour_rows(ids, nearest_NK, scores_NK)


def neighbour_rows(
    ids: pa.StringArray, nearest_NK: NDArray[np.integer], scores_NK: NDArray[np.floating], score: str = "score"
) -> pa.Table:
    """Return one row per video and neighbour: video_id, rank from 1, neighbour_id and a column named by `score`.

    `ids` are those of N videos; nearest_NK are their positions.
    """
    count, width = nearest_NK.shape
    return pa.table(
        {
            "video_id": ids.take(pa.array(np.repeat(np.arange(count), width))),
            "rank": pa.array(np.tile(np.arange(1, width + 1, dtype=np.int32), count)),
            "neighbour_id": ids.take(pa.array(nearest_NK.ravel())),
            score: pa.array(scores_NK.ravel().astype(np.float32)),
        }
    )


def _neighbours(live: Live, ids: list[str], top: int) -> Neighbours:
    stored = live.neighbours_NK.shape[1] >= min(top, len(ids) - 1)
    if stored and live.upto == live.snapshot.upto:
        return live.neighbours_NK[:, :top], live.scores_NK[:, :top]
    return exact_neighbours(live.vectors([live.place(video_id) for video_id in ids]), top)
