"""The tower: the trainable network that maps a video's features to one unit embedding."""
