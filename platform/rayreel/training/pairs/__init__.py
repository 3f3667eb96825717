"""Pairs: which two things training pulls together, and what it may push apart."""
