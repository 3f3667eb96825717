"""rayreel: from a pile of videos to content-based recommendations, on Ray."""

__version__ = "0.1.0"
