"""What decoding finds out in the middle of a file: this video cannot be used."""

from rayreel.failures import Reason


class Refused(Exception):
    """Ends the decoding of one video; `decode_file` turns it into a `Rejected`, and nothing else sees it."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
