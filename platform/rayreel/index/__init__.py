"""Milvus: one collection per release, and the alias that says which of them serves."""
