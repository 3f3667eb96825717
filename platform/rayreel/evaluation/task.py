"""What every task has: who asks, what may be answered, and what is right."""

from typing import Protocol

from scipy import sparse

from rayreel.evaluation.scorers import Rows, Scorer, Vectors


class Task(Protocol):
    """Q queries, C candidates. Relevance is asked for a few queries at a time, sparse."""

    @property
    def queries(self) -> Rows:
        """[Q]: row numbers of videos, or numbers of users."""

    @property
    def candidates(self) -> Rows:
        """[C]: row numbers of videos, in a fixed random order."""

    @property
    def clusters(self) -> Rows:
        """[Q]: queries of one number are no independent evidence and are resampled together."""

    def relevant(self, queries: Rows) -> sparse.csr_array:
        """[q, C] bool: what is right for these queries; nothing barred is among it."""

    def barred(self, queries: Rows) -> sparse.csr_array:
        """[q, C]: non-zero where a candidate must not be shown to a query."""

    def by(self, vectors_ND: Vectors) -> Scorer:
        """How vectors of all videos score this task's queries."""
