"""The HTTP API: its messages and a Python client."""

from rayreel.client.client import ApiError, Client

__all__ = ["ApiError", "Client"]
