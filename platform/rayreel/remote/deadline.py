"""Wall time left for one file."""

import time


class Deadline:
    """The end of all waiting for one file, `seconds` from now."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def check(self) -> None:
        """Raise TimeoutError once the time is over."""
        if time.monotonic() > self._end:
            raise TimeoutError(f"it took longer than {self._seconds:.0f} s")

    def within(self, seconds: float | None) -> float:
        """The time that one wait may take. Raises TimeoutError once the time is over."""
        self.check()
        left = max(self._end - time.monotonic(), 0.001)
        return left if seconds is None else min(seconds, left)
