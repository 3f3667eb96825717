"""Load on the HTTP service, beside the common way of serving and beside Milvus itself."""
