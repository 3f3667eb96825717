"""The modalities of a video. Imports nothing heavy, because settings need it."""

from enum import StrEnum


class Modality(StrEnum):
    """The three ways a video is perceived. The order is the tower's order."""

    VISUAL = "visual"
    AUDIO = "audio"
    TEXT = "text"
