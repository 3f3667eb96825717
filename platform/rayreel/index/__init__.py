"""Milvus index: one collection per release, and an alias that points to the serving one."""
