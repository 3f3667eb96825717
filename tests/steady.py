"""Settings for property tests that are deterministic and independent of machine load."""

from hypothesis import settings

steady = settings(deadline=None, derandomize=True)
