"""What a user can mend about pairs."""

from rayreel.errors import RayreelError


class PairsImpossible(RayreelError):
    """A pair source has weight, but the data hold nothing it could make pairs of."""
