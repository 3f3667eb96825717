"""Benchmarks of rayreel's parts, beside the common way to do the same work and what the machine allows."""
