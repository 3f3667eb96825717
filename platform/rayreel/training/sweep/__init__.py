"""Sweeps: train a grid of settings and compare the results in one table."""
