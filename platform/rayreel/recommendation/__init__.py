"""Recommendation: exact neighbours from memory, diversity, serendipity, user interests and explanations."""
