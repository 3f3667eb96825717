"""What a caller may ask for beside the query itself."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rayreel.encoders.encoder import Modality
from rayreel.errors import RayreelError
from rayreel.index.filters import Filter

Vector = NDArray[np.float32]


class BadQuery(RayreelError):
    """A query that cannot be answered as it is asked; asking again differently can."""


@dataclass(frozen=True, slots=True)
class Options:
    """How results are chosen, whatever the query.

    `diversity` 0 is the most similar, towards 1 results are less like each other. `serendipity` is the share of the
    results that come from other categories than the query's. `weights` remix the parts of known videos. `hybrid`
    joins the embedding's ranking with that of the words.
    """

    top_k: int = 10
    filter: Filter | None = None
    exclude: frozenset[str] = frozenset()
    diversity: float = 0.0
    cross_category: bool = False
    serendipity: float = 0.0
    explain: bool = False
    weights: Mapping[Modality, float] | None = None
    hybrid: bool = False

    def pool(self) -> int:
        """How many candidates results are chosen from: with diversity, more than are returned."""
        return max(5 * self.top_k, 50) if self.diversity else self.top_k


def unit(embedding: ArrayLike, dim: int) -> Vector:
    """A caller's embedding as a unit query, float32 [dim].

    Raises:
        BadQuery: its dimension differs, it contains a number that is not finite, or it is zero.
    """
    query_D = np.asarray(embedding, dtype=np.float64)
    if query_D.shape != (dim,):
        raise BadQuery(f"The embedding has shape {query_D.shape}; the release that serves takes {dim} numbers.")
    length = float(np.linalg.norm(query_D))
    if not np.isfinite(length) or length == 0:
        raise BadQuery(
            "The embedding is zero or contains a number that is not finite, so it has no direction. Encode it again."
        )
    return (query_D / length).astype(np.float32)
