"""Co-watch: which videos the same people watch within a short time of each other."""

import numpy as np
from scipy import sparse

from rayreel.evaluation.views import Views


def watched_together(views: Views, videos: int, window_s: float) -> sparse.csr_array:
    """[N, N] symmetric: how many times a user watched both within `window_s`; the diagonal is empty.

    `views` are ordered by user and time, so that partners lie behind each other: every round pairs each view with
    the one so many places later, until no pair of any user lies within the window.
    """
    total = sparse.csr_array((videos, videos), dtype=np.float32)
    here, distance = np.arange(len(views.rows)), 1
    while True:
        here = here[here + distance < len(views.rows)]
        there = here + distance
        close = views.users[here] == views.users[there]
        close &= views.seconds[there] - views.seconds[here] <= window_s
        here, there = here[close], there[close]
        if len(here) == 0:
            return (total + total.T).tocsr()
        counts = np.ones(len(here), np.float32)
        total += sparse.csr_array((counts, (views.rows[here], views.rows[there])), total.shape)
        distance += 1
