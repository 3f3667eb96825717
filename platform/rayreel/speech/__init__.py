"""Speech recognition: sound to a transcript with times."""
