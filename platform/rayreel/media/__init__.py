"""Media: bytes to frames and waveform, and what is wrong with a file."""
