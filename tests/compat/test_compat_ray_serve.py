"""The parts of Ray Serve that have no public function."""

import os
from dataclasses import fields
from pathlib import Path

import pytest
from ray import serve
from ray.dashboard.modules.serve.sdk import ServeSubmissionClient
from ray.serve._private import client, constants
from ray.serve._private.common import DeploymentID, ReplicaID
from ray.serve._private.config import DeploymentConfig
from ray.serve.context import ReplicaContext, _set_internal_replica_context
from ray.serve.schema import ServeStatus

from rayreel.compat.ray_serve import haproxy_variables, most_calls


def test_upstream_has_no_public_name_for_the_address() -> None:
    public = {field.name for field in fields(ServeStatus)}
    assert public == {"proxies", "applications", "target_capacity"}, "can compat.ray_serve.listening_host go?"
    assert isinstance(client.ServeControllerClient.http_config, property)


def test_upstream_has_no_public_function_that_deploys_a_configuration() -> None:
    public = {name for name in dir(serve) if "deploy" in name.lower()} - {"Deployment", "deployment"}
    assert all(name.startswith("get_deployment_") for name in public), "can compat.ray_serve.deployer go?"
    assert callable(ServeSubmissionClient.deploy_applications) and callable(ServeSubmissionClient.get_serve_details)


def test_upstream_has_no_public_name_for_the_limit_of_calls() -> None:
    public = {field.name for field in fields(ReplicaContext) if not field.name.startswith("_")}
    assert not [name for name in public if "ongoing" in name or "config" in name], "can compat.ray_serve.most_calls go?"


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


def test_serve_reads_every_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_SERVE_ENABLE_HA_PROXY", raising=False)
    variables = haproxy_variables(("1", "2", "3"), timeout_s=90, shutdown_s=40)
    text = Path(constants.__file__).read_text()
    assert variables and not [name for name in variables if f'"{name}"' not in text]


def test_serves_own_proxy_needs_no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_SERVE_ENABLE_HA_PROXY", "0")
    assert haproxy_variables(("1", "2", "3"), timeout_s=90, shutdown_s=40) == {}


def test_the_program_is_executable() -> None:
    assert os.access(
        haproxy_variables(("1", "2", "3"), timeout_s=90, shutdown_s=40)["RAY_SERVE_HAPROXY_BINARY_PATH"], os.X_OK
    )
