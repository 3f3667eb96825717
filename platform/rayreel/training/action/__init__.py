"""End-to-end training of a video network on labelled clips, for use as a visual encoder."""
