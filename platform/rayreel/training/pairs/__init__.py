"""Pairs: positive pairs for training, and which videos may be negatives."""
