"""Feature extraction: the Ray Data pipeline from a catalog to the feature store, and the store."""
