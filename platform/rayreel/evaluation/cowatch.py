"""Co-watching: which videos the same users watch within a time window."""

import numpy as np
from scipy import sparse

from rayreel.evaluation.views import Views


def watched_together(views: Views, videos: int, window_s: float) -> sparse.csr_array:
    """Return how many times a user watched both videos within `window_s`, [N, N], symmetric with an empty diagonal.

    `views` are sorted by user and time. Round d pairs each view with the one d places later, until no pair of one
    user lies within the window.
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
