"""What Serve's configuration says about the replica that runs this process."""

from ray import serve


def most_calls() -> int:
    """Return the deployment's max_ongoing_requests: how many calls Serve sends to this replica at once."""
    # Serve has no public way to read it. It comes from config.yaml or the manifest, not from the code.
    most: int = serve.get_replica_context()._deployment_config.max_ongoing_requests
    return most
