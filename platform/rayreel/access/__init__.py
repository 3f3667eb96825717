"""Access control of the service: API keys, scopes and rate limits."""
