"""Evaluation: splits, metrics, baselines and the report."""
