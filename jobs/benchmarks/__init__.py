"""Comparisons in one run, each printing ratios."""
