"""Property tests that come out the same on every run, however busy the machine is."""

from hypothesis import settings

steady = settings(deadline=None, derandomize=True)
