"""How often one caller may ask."""


class TokenBucket:
    """A token bucket per caller: `rate` tokens a second flow in up to `burst`, each request takes one.

    Source: Turner 1986, New Directions in Communications. Holds one pair of numbers per caller; let it see only callers
    whose number is bounded.
    """

    def __init__(self, rate_per_s: float, burst: int) -> None:
        self._rate, self._burst = rate_per_s, float(burst)
        self._filled: dict[str, tuple[float, float]] = {}

    def take(self, caller: str, now: float) -> float:
        """Take a token at `now` (seconds of a steady clock): 0 where one was there, else the seconds until one is."""
        tokens, at = self._filled.get(caller, (self._burst, now))
        tokens = min(self._burst, tokens + (now - at) * self._rate)
        # A refused request takes nothing: one who waits as told gets through.
        left = tokens - 1 if tokens >= 1 else tokens
        self._filled[caller] = (left, now)
        return 0.0 if tokens >= 1 else (1 - tokens) / self._rate
