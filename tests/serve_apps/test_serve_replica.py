"""What a replica knows of Serve's configuration."""

import pytest
from ray.serve._private.common import DeploymentID, ReplicaID
from ray.serve._private.config import DeploymentConfig
from ray.serve.context import _set_internal_replica_context

from serve_apps.replica import most_calls


@pytest.mark.parametrize("calls", [8, 64])
def test_a_replica_knows_how_many_calls_serve_sends_to_it(calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.serve.context._INTERNAL_REPLICA_CONTEXT", None)
    _set_internal_replica_context(
        replica_id=ReplicaID(unique_id="a", deployment_id=DeploymentID(name="search")),
        servable_object=None,
        _deployment_config=DeploymentConfig(max_ongoing_requests=calls),
        rank=None,
        world_size=1,
    )
    assert most_calls() == calls
