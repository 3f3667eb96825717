"""How much a view says about a person's taste, from its rating or how long it was watched."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

# A like says more than a view. Ratings up to half of the stars say nothing good.
LIKED = 3.0
STARS = 5.0
SHORTEST = 0.1

Numbers = TypeVar("Numbers", float, NDArray[np.float64])


def rating_weight(rating: Numbers) -> Numbers:
    """Return the weight of a rated video: 0 up to half of the stars, LIKED for all of them.

    >>> rating_weight(5.0), rating_weight(2.0)
    (3.0, 0.0)
    """
    return (abs(rating - STARS / 2) + rating - STARS / 2) / STARS * LIKED


def view_weights(
    ratings_V: NDArray[np.float64], dwell_V: NDArray[np.float64], durations_V: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return the weight of each view; NaN is unknown. A rating decides, else the share watched, else it is 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shares_V = np.clip(dwell_V / durations_V, SHORTEST, 1.0)
    watched_V = np.where(np.isfinite(shares_V), shares_V, 1.0)
    return np.where(np.isnan(ratings_V), watched_V, rating_weight(ratings_V)).astype(np.float32)
