"""What a user can mend."""


class RayreelError(Exception):
    """An error whose message names the thing, the cause and the remedy. Jobs print it; they show no traceback."""
