"""The wall-clock limit on the work for one file."""

import time


class Deadline:
    """A point in time `seconds` from now, after which work on a file stops.

    >>> deadline = Deadline(60)
    >>> deadline.within(5), deadline.within(600) <= 60
    (5, True)
    >>> Deadline(-1).check()
    Traceback (most recent call last):
    TimeoutError: took longer than -1 s
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def check(self) -> None:
        """Raise TimeoutError if the deadline has passed."""
        if time.monotonic() > self._end:
            raise TimeoutError(f"took longer than {self._seconds:g} s")

    def within(self, seconds: float | None) -> float:
        """The timeout for one blocking call: `seconds`, or the time left if that is less.

        Raises TimeoutError if the deadline has passed.
        """
        self.check()
        left = max(self._end - time.monotonic(), 0.001)
        return left if seconds is None else min(seconds, left)
