"""Queries mixed from the tower's single-modality embeddings."""

from collections.abc import Mapping

import numpy as np

from rayreel.encoders.encoder import Modality
from rayreel.recommendation.query import BadQuery, Vector


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
