"""The exception that ends the decoding of a video that cannot be used."""

from rayreel.failures import Reason


class RefusedMedia(Exception):
    """Ends the decoding of one video or of one audio track; `decode_samples` never lets it escape."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
