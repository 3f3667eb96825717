"""Errors of pair sources that the user can fix."""

from rayreel.errors import RayreelError


class PairsImpossible(RayreelError):
    """A pair source has a weight, but the data contain no pairs for it."""
