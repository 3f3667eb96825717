"""Simulated people, and replays of real ones, who use a running service over HTTP."""
