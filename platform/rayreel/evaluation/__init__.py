"""Evaluation: splits, metrics, baselines, report."""
