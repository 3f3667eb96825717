"""Frozen encoders that turn frames, waveform windows and text into vectors."""
