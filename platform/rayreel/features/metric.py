"""Metrics by which an encoder's own vectors are compared. Imports nothing heavy."""

from enum import StrEnum


class Metric(StrEnum):
    """How far two vectors are from each other; cosine is a similarity, the others are distances."""

    COSINE = "cosine"
    L2 = "l2"
    L1 = "l1"
