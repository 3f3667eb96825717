"""The base class of errors that a user can fix."""

from rayreel.redact import redacted


class RayreelError(Exception):
    """An error whose message states what happened, where, and what to do. Jobs print it without a traceback.

    Credentials and query strings of URLs are removed from the message.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*(redacted(arg) if isinstance(arg, str) else arg for arg in args))
