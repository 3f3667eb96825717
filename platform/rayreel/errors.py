"""What a user can mend."""

from rayreel.redact import redacted


class RayreelError(Exception):
    """An error whose message names the thing, the cause and the remedy. Jobs print it; they show no traceback.

    The message keeps no secret that an address in it may hold.
    """

    def __init__(self, *words: object) -> None:
        super().__init__(*(redacted(word) if isinstance(word, str) else word for word in words))
