"""Media: decodes video files to frames and audio windows, or returns the reason why not."""
