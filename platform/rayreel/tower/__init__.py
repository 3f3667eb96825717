"""The tower: the trainable part, from a video's features to one unit embedding."""
