"""A process that decodes untrusted videos and has no other access, even if a video compromises it."""
