"""What a person did with a video, as recommendations read it."""

from typing import NamedTuple

# Takes back what the person said of a video before.
UNLIKE = "unlike"


class Done(NamedTuple):
    """Something that a person did with a video; `at` in seconds since 1970."""

    video_id: str
    type: str
    value: float | None
    at: float
