"""Training of the user tower on the frozen vectors of a release, and the choice whether it is released."""
