"""The interface of all tasks: queries, candidates, exclusions and relevance."""

from collections.abc import Callable
from typing import Protocol

from scipy import sparse

from rayreel.evaluation.scorers import Rows, Scorer, Vectors


class Task(Protocol):
    """Q queries, C candidates. Relevance is computed for a few queries at a time, as a sparse matrix."""

    @property
    def queries(self) -> Rows:
        """[Q]: row numbers of videos, or numbers of users."""

    @property
    def candidates(self) -> Rows:
        """[C]: row numbers of videos, in a fixed random order."""

    @property
    def clusters(self) -> Rows:
        """[Q]: queries with the same number are not independent and are resampled together."""

    def relevant(self, queries: Rows) -> sparse.csr_array:
        """[q, C] bool: relevant candidates of these queries; no excluded candidate is relevant."""

    def excluded(self, queries: Rows) -> sparse.csr_array:
        """[q, C]: non-zero for candidates that are left out of a query's ranking."""

    def by(self, vectors_ND: Vectors) -> Scorer:
        """Return a scorer of this task's queries from one vector per video."""


Method = Callable[[Task], Scorer | None]
"""Returns the scorer of a task; None if the method does not apply to it."""

Make = Callable[[], Method]
