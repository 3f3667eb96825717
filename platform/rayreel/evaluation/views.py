"""Interactions as arrays: each user's first view of each video of the catalog, in order of time."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rayreel.errors import RayreelError
from rayreel.evaluation.weights import view_weights
from rayreel.features.matrix import FeatureMatrix


class NoInteractions(RayreelError):
    """No interaction is with a video of the feature store."""


@dataclass(frozen=True, slots=True)
class Views:
    """V views sorted by user, then time: user number, video row, time in seconds, and position in the table.

    weights: how much each says about the user's taste, see `evaluation.weights`.
    """

    users: NDArray[np.int64]
    rows: NDArray[np.int64]
    seconds: NDArray[np.float64]
    places: NDArray[np.int64]
    weights: NDArray[np.float32]

    def only(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> "Views":
        """Return the chosen views, by a mask or by their numbers."""
        by_view = self.users[chosen], self.rows[chosen], self.seconds[chosen]
        return Views(*by_view, self.places[chosen], self.weights[chosen])


def read_views(table: pa.Table, matrix: FeatureMatrix) -> Views:
    """Read the interactions with videos of the matrix, only the first of each user and video.

    Simultaneous views keep the table's order. Raises NoInteractions if no row is with a video of the matrix.
    """
    rows = pc.index_in(table["video_id"], value_set=matrix.rows["video_id"].combine_chunks())
    places = np.flatnonzero(np.asarray(pc.is_valid(rows)))
    if len(places) == 0:
        raise NoInteractions(
            f"None of {table.num_rows} interactions is with one of the {len(matrix)} videos of the feature store. "
            "Pass interactions that use the catalog's video_id, or extract the videos they refer to."
        )
    known = table.take(places)
    users = np.asarray(known["user_id"].combine_chunks().dictionary_encode().indices).astype(np.int64)
    seconds = np.asarray(known["timestamp"].cast(pa.int64())) / 1e6
    row = np.asarray(rows.combine_chunks().take(places)).astype(np.int64)
    weights = view_weights(numbers_of(known["rating"]), numbers_of(known["dwell_s"]), durations_of(matrix)[row])
    views = Views(users, row, seconds, places, weights)
    return _first_views(views.only(np.lexsort((places, seconds, users))), len(matrix))


def numbers_of(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return the values [V], NaN where there is none."""
    return np.asarray(column.combine_chunks().cast(pa.float64()).fill_null(np.nan))


def durations_of(matrix: FeatureMatrix) -> NDArray[np.float64]:
    """Return the seconds of each video [N], NaN if unknown."""
    if "duration_s" not in matrix.rows.column_names:
        return np.full(len(matrix), np.nan)
    return numbers_of(matrix.rows["duration_s"])


def _first_views(views: Views, videos: int) -> Views:
    firsts = np.zeros(len(views.rows), bool)
    firsts[np.unique(views.users * videos + views.rows, return_index=True)[1]] = True
    return views.only(firsts)
