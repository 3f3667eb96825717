"""Interactions as arrays: every user's first view of every video of the catalog, in the order of time."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rayreel.errors import RayreelError
from rayreel.features.matrix import FeatureMatrix


class NoInteractions(RayreelError):
    """Interactions that tell nothing about the videos at hand."""


@dataclass(frozen=True, slots=True)
class Views:
    """V views, by user and then by time: number of the user, row of the video, seconds, and place in the table."""

    users: NDArray[np.int64]
    rows: NDArray[np.int64]
    seconds: NDArray[np.float64]
    places: NDArray[np.int64]

    def only(self, chosen: NDArray[np.bool_]) -> "Views":
        """Some of the views."""
        return Views(self.users[chosen], self.rows[chosen], self.seconds[chosen], self.places[chosen])


def read_views(table: pa.Table, matrix: FeatureMatrix) -> Views:
    """Interactions of videos that the matrix has; of several views of one video by one user the first counts.

    Views of one moment stand in the table's order. Raises NoInteractions when no row names a video of the matrix.
    """
    rows = pc.index_in(table["video_id"], value_set=matrix.rows["video_id"].combine_chunks())
    places = np.flatnonzero(np.asarray(pc.is_valid(rows)))
    if len(places) == 0:
        raise NoInteractions(
            f"None of {table.num_rows} interactions names one of the {len(matrix)} videos of the feature store. "
            "Give interactions whose video_id is the catalog's, or extract the videos they are about."
        )
    known = table.take(places)
    users = np.asarray(known["user_id"].combine_chunks().dictionary_encode().indices).astype(np.int64)
    seconds = np.asarray(known["timestamp"].cast(pa.int64())) / 1e6
    row = np.asarray(rows.combine_chunks().take(places)).astype(np.int64)
    order = np.lexsort((places, seconds, users))
    return _first_views(Views(users[order], row[order], seconds[order], places[order]), len(matrix))


def _first_views(views: Views, videos: int) -> Views:
    firsts = np.zeros(len(views.rows), bool)
    firsts[np.unique(views.users * videos + views.rows, return_index=True)[1]] = True
    return views.only(firsts)
