"""Sweeps: many settings trained alike, and one table of what they came to."""
