"""The modalities of a video. Imports nothing heavy, because settings need it."""

from enum import StrEnum


class Modality(StrEnum):
    """The modalities of a video, in the tower's order."""

    VISUAL = "visual"
    AUDIO = "audio"
    TEXT = "text"
