"""People who watch one kind of video after another: the last one decides what comes next, not the mean."""

import numpy as np
import pyarrow as pa

from watching import watched

KINDS, EACH = 6, 10
DAY_S = 86_400.0


def kind_of(row: int) -> int:
    """Return the kind of the video v{row}."""
    return row % KINDS


def ordered_views(people: int = 120, views: int = 9, *, in_order: bool = True) -> pa.Table:
    """Return interactions with the videos v00 to v59, of the kinds 0, 1, 2 and so on in turn, or of random kinds."""
    rng = np.random.default_rng(0)
    watches = []
    for person in range(people):
        kind, begin = int(rng.integers(KINDS)), float(rng.integers(100) * DAY_S)
        seen = set[int]()
        for view in range(views):
            kind = (kind + 1) % KINDS if in_order else int(rng.integers(KINDS))
            left = [row for row in range(KINDS * EACH) if kind_of(row) == kind and row not in seen]
            seen.add(row := int(rng.choice(left)))
            watches.append((f"p{person}", f"v{row:02}", begin + 600 * view))
    return watched(*watches)
