"""Frozen encoders: frames, waveform windows and text to vectors."""
