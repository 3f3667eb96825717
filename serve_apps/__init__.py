"""The Serve applications: thin shells around the library."""
