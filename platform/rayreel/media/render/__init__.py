"""Draw, synthesise and encode the clips of the sample set."""
