"""Smoothing of a release: every embedding of its rows averaged with its nearest, exactly, also after changes."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rayreel.release.neighbours import CELLS, exact_neighbours
from rayreel.release.rows import ROWS, ReleaseRows, own_embeddings, tombstones
from rayreel.tower.config import Smoothing
from rayreel.tower.smoothing import averaged

_READ = ("embedding", "own", "nearest")
# Cosines that are computed again differ by rounding. A row that is averaged again for nothing stays the same.
_ROUNDING = 1e-5


def smooth_rows(rows: ReleaseRows, smoothing: Smoothing) -> int:
    """Bring every row's `embedding` to what averaging all rows at once would give; returns how many were written.

    Written, as one part, are the rows that are new or whose nearest videos have changed. M of N rows cost M · N
    cosines. What another process writes meanwhile is kept. After a kill, repeat it.
    """
    if not smoothing.neighbours and not rows.smoothing().neighbours:
        return 0
    same = smoothing == rows.smoothing()
    if same and not rows.parts(rows.smoothed_upto()):
        return 0
    now = rows.read(columns=_READ)
    outdated_N, upto = np.ones(now.rows.num_rows, bool), now.last
    if same:
        outdated_N = _outdated(now.rows, min(smoothing.neighbours, now.rows.num_rows - 1))
    if outdated_N.any():
        smooth = _smoothed(rows.read(upto=now.last).rows, outdated_N, smoothing)
        upto = _add(rows, smooth, after=now.last)
    rows.set_smoothing(smoothing, upto)
    return int(outdated_N.sum())


def _smoothed(table: pa.Table, outdated_N: NDArray[np.bool_], smoothing: Smoothing) -> pa.Table:
    """Return the outdated rows with new embeddings; without own ones and nearest videos if smoothing is off."""
    own_ND, of_Q, ids = own_embeddings(table), np.flatnonzero(outdated_N), table["video_id"].combine_chunks()
    nearest_QK, _ = exact_neighbours(own_ND, smoothing.neighbours, of_Q)
    smooth_QD = averaged(own_ND[of_Q], own_ND, nearest_QK, smoothing.alpha)
    columns = {"embedding": _lists(pa.array(smooth_QD.ravel()), smooth_QD.shape), "own": None, "nearest": None}
    if smoothing.neighbours:
        columns["own"] = _lists(pa.array(own_ND[of_Q].ravel()), smooth_QD.shape)
        columns["nearest"] = _lists(ids.take(pa.array(nearest_QK.ravel())), nearest_QK.shape)
    return with_columns(table.filter(pa.array(outdated_N)), columns)


def with_columns(table: pa.Table, columns: dict[str, pa.Array | None]) -> pa.Table:
    """Return release rows with columns replaced; None for one without values."""
    for name, column in columns.items():
        place = table.column_names.index(name)
        values = pa.nulls(table.num_rows, ROWS.field(name).type) if column is None else column
        table = table.set_column(place, ROWS.field(name), values.cast(ROWS.field(name).type))
    return table


def _lists(values: pa.Array, shape: tuple[int, ...]) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(np.arange(shape[0] + 1) * shape[1], pa.int32()), values)


def _outdated(table: pa.Table, width: int) -> NDArray[np.bool_]:
    """Return which rows [N] are new, have lost or changed neighbours, or have a new video among their nearest."""
    ids, nearest = table["video_id"].combine_chunks(), table["nearest"].combine_chunks()
    outdated_N = np.asarray(pc.fill_null(pc.not_equal(pc.list_value_length(nearest), width), True)).astype(bool)
    new_N = np.asarray(nearest.is_null()).astype(bool)
    rest_R = np.flatnonzero(~outdated_N)
    known = nearest.take(pa.array(rest_R)).flatten()
    place_RK = np.asarray(pc.fill_null(pc.index_in(known, value_set=ids), -1)).reshape(len(rest_R), width)
    lost_R = ((place_RK < 0) | new_N[place_RK]).any(axis=1)
    own_ND = own_embeddings(table)
    lost_R |= _intruded(own_ND, rest_R, place_RK, np.flatnonzero(new_N))
    outdated_N[rest_R[lost_R]] = True
    return outdated_N


def _intruded(
    own_ND: NDArray[np.float32], rest_R: NDArray[np.int64], place_RK: NDArray[np.int64], new_M: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which of the rows [R] are at least as near to a new row as to the farthest of their neighbours."""
    found_R = np.zeros(len(rest_R), bool)
    if not len(new_M) or not place_RK.shape[1]:
        return found_R
    step = max(1, CELLS // len(new_M))
    for start in range(0, len(rest_R), step):
        own_RD = own_ND[rest_R[start : start + step]]
        reach_R = np.einsum("rd,rd->r", own_RD, own_ND[place_RK[start : start + step, -1]])
        found_R[start : start + step] = (own_RD @ own_ND[new_M].T).max(axis=1) >= reach_R - _ROUNDING
    return found_R


def _add(rows: ReleaseRows, table: pa.Table, after: str) -> str:
    """Write rows that were read up to `after`, then once more what others wrote about the same videos meanwhile.

    Returns the last part up to which nothing is left to average.
    """
    name = rows.add(table)
    between = [part for part in rows.parts(after) if part < name]
    if not between:
        return name
    meanwhile, ours = rows.read(after=after, upto=between[-1]), table["video_id"].combine_chunks()
    again = meanwhile.rows.filter(pc.is_in(meanwhile.rows["video_id"], value_set=ours))
    gone = meanwhile.deleted.intersection(ours.to_pylist())
    if again.num_rows or gone:
        rows.add(pa.concat_tables([again, tombstones(sorted(gone))]))
    return after
