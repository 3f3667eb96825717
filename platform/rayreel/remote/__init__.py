"""Reading what callers and catalogs name: which addresses and files, how much of them, and over which connection."""
