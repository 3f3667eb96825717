"""Who watched what after what: examples of a history and the video that followed it."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rayreel.evaluation.users import UserQueries
from rayreel.evaluation.views import Views
from rayreel.tower.config import HISTORY
from rayreel.tower.user_history import HistoryBatch


@dataclass(frozen=True, slots=True)
class Sequences:
    """Views of many people, sorted by person and time, and examples: views first_E[e] up to before last_E[e].

    rows_V, seconds_V, weights_V: of the views. targets_E: the video that was watched after each history.
    """

    rows_V: NDArray[np.int64]
    seconds_V: NDArray[np.float64]
    weights_V: NDArray[np.float32]
    first_E: NDArray[np.int64]
    last_E: NDArray[np.int64]
    targets_E: NDArray[np.int64]

    @staticmethod
    def of_views(views: Views) -> "Sequences":
        """Return an example for every view but a person's first."""
        first_V, last_V = np.searchsorted(views.users, views.users), np.arange(len(views.users))
        chosen_E = np.flatnonzero(last_V > first_V)
        return Sequences(
            views.rows, views.seconds, views.weights, first_V[chosen_E], last_V[chosen_E], views.rows[chosen_E]
        )

    @staticmethod
    def of_queries(queries: UserQueries) -> "Sequences":
        """Return an example for each query."""
        size = len(queries.items)
        seconds_V = np.zeros(size) if queries.seconds is None else queries.seconds
        weights_V = np.ones(size, np.float32) if queries.weights is None else queries.weights
        bounds = queries.offsets
        return Sequences(queries.items, seconds_V, weights_V, bounds[:-1], bounds[1:], queries.targets_Q)

    def __len__(self) -> int:
        return len(self.targets_E)

    def histories(self, examples: NDArray[np.int64]) -> HistoryBatch:
        """Return the newest HISTORY videos before these examples, newest first."""
        views_BL = self.last_E[examples, None] - 1 - np.arange(HISTORY)
        present_BL = views_BL >= self.first_E[examples, None]
        views_BL = np.where(present_BL, views_BL, 0)
        ages_BL = np.where(present_BL, self.seconds_V[views_BL[:, :1]] - self.seconds_V[views_BL], 0)
        return HistoryBatch(
            torch.from_numpy(np.where(present_BL, self.rows_V[views_BL], -1)),
            torch.from_numpy(np.where(present_BL, self.weights_V[views_BL], 0)),
            torch.from_numpy(ages_BL.astype(np.float32)),
        )
