"""Options of a recommendation query, and query vectors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rayreel.encoders.encoder import Modality
from rayreel.errors import RayreelError
from rayreel.features.metric import Metric
from rayreel.index.filters import Filter
from rayreel.recommendation.scenarios import Scenario

Vector = NDArray[np.float32]


class BadQuery(RayreelError):
    """The query cannot be answered as given. The message says what to change."""


class Space(NamedTuple):
    """The space of one encoder's own vectors, and the metric that compares them."""

    modality: Modality
    metric: Metric = Metric.COSINE


@dataclass(frozen=True, slots=True)
class Options:
    """How results are chosen, for any kind of query.

    `diversity`: 0 returns the most similar videos; towards 1, results differ more from each other. `serendipity`: the
    share of results from other categories than the query's. `weights`: reweight the modalities of known videos.
    `hybrid`: add the match of the words to the cosine. `threshold`: the lowest cosine of a result. `candidates`: per
    result, with diversity. `space`: compare in the space of one encoder instead of the release's.
    `scenario`: steps after the search, at the time `now`, by default the present.
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
    threshold: float | None = None
    candidates: int = 5
    space: Space | None = None
    scenario: Scenario | None = None
    now: float | None = None

    def pool(self) -> int:
        """Return how many candidates to choose from: with diversity or a scenario, more than are returned."""
        if self.scenario is not None:
            return max(self.candidates if self.diversity else 1, self.scenario.candidates) * max(self.top_k, 10)
        return self.candidates * max(self.top_k, 10) if self.diversity else self.top_k


def mean_of(vectors: Mapping[Modality, Vector], modality: Modality) -> Vector:
    """Return a query's mean vector [D] of a modality; `vectors` has [n, D] of each. Raises BadQuery if it is absent."""
    found_ND = vectors.get(modality)
    if found_ND is None or not len(found_ND):
        raise BadQuery(f"The query has no {modality} vector. Choose the space of another encoder.")
    mean_D: Vector = found_ND.mean(axis=0)
    return mean_D


def raw(embedding: ArrayLike, dim: int) -> Vector:
    """Return a caller's vector of an encoder's space, float32 [dim]. Raises BadQuery if its dimension differs."""
    query_D = np.asarray(embedding, dtype=np.float32)
    if query_D.shape != (dim,):
        raise BadQuery(f"The embedding has shape {query_D.shape}; vectors of this space have {dim} numbers.")
    return query_D


def unit(embedding: ArrayLike, dim: int) -> Vector:
    """Return a caller's embedding as a unit query, float32 [dim].

    Raises:
        BadQuery: its dimension differs, it contains a number that is not finite, or it is zero.
    """
    query_D = np.asarray(embedding, dtype=np.float64)
    if query_D.shape != (dim,):
        raise BadQuery(f"The embedding has shape {query_D.shape}; the serving release takes {dim} numbers.")
    length = float(np.linalg.norm(query_D))
    if not np.isfinite(length) or length == 0:
        raise BadQuery(
            "The embedding is zero or contains a number that is not finite, so it has no direction. Encode it again."
        )
    return (query_D / length).astype(np.float32)


def weighted_query(parts: Mapping[Modality, Vector], weights: Mapping[Modality, float]) -> Vector:
    """Return the unit query Σ w_m · part_m, float32 [dim]; an absent or unweighted modality contributes nothing.

    Parts are unit vectors, float32 [dim].

    Raises:
        BadQuery: no part has a weight, or the parts cancel out.
    """
    weighted = [weights[modality] * part for modality, part in parts.items() if weights.get(modality, 0)]
    mixed_D: Vector = np.sum(weighted, axis=0, dtype=np.float32) if weighted else np.zeros(1, np.float32)
    length = np.linalg.norm(mixed_D)
    if length < 1e-6:
        present = ", ".join(parts) or "no modality"
        raise BadQuery(
            f"The weights leave nothing of the query, which has {present}. Set a weight above 0 for a modality that "
            "it has."
        )
    return mixed_D / length
