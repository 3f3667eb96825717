"""The HTTP API from outside: its messages, and a client that speaks them."""

from rayreel.client.client import ApiError, Client

__all__ = ["ApiError", "Client"]
