"""Queries mixed from the tower's embeddings of each modality alone."""

from collections.abc import Mapping

import numpy as np

from rayreel.encoders.encoder import Modality
from rayreel.recommend.query import BadQuery, Vector


def mixture(parts: Mapping[Modality, Vector], weights: Mapping[Modality, float]) -> Vector:
    """The unit query Σ w_m · part_m, float32 [dim]; a modality without weight, or that is absent, adds nothing.

    S4's mixture is 0.7 visual and 0.3 text. Parts are unit vectors, float32 [dim].

    Raises:
        BadQuery: nothing that has weight is there, or the parts cancel out.
    """
    shown = [weights[modality] * part for modality, part in parts.items() if weights.get(modality, 0)]
    mixed_D: Vector = np.sum(shown, axis=0, dtype=np.float32) if shown else np.zeros(1, np.float32)
    length = np.linalg.norm(mixed_D)
    if length < 1e-6:
        there = ", ".join(parts) or "none"
        raise BadQuery(f"The weights leave nothing of the query: it has {there}. Give one of these a weight above 0.")
    return mixed_D / length
