"""The Ray Serve application: a thin HTTP layer around the library."""
