"""Rate limits."""


class TokenBucket:
    """A token bucket per caller: gains `rate_per_s` tokens per second up to `burst`, and each request takes one.

    Source: Turner 1986, New Directions in Communications. Stores two numbers per caller and never removes them, so the
    number of callers must be bounded.

    >>> bucket = TokenBucket(rate_per_s=2, burst=1)
    >>> [bucket.take("ann", now) for now in (0.0, 0.1, 0.5)]
    [0.0, 0.4, 0.0]
    """

    def __init__(self, rate_per_s: float, burst: int) -> None:
        self._rate, self._burst = rate_per_s, float(burst)
        self._filled: dict[str, tuple[float, float]] = {}

    def take(self, caller: str, now: float) -> float:
        """Take a token at `now` (seconds of a monotonic clock). Return 0, or the seconds until one is available."""
        tokens, at = self._filled.get(caller, (self._burst, now))
        tokens = min(self._burst, tokens + (now - at) * self._rate)
        # A rejected request takes no token, so a caller that waits for the returned time succeeds.
        left = tokens - 1 if tokens >= 1 else tokens
        self._filled[caller] = (left, now)
        return 0.0 if tokens >= 1 else (1 - tokens) / self._rate
