"""Ray's addresses and options, as they are and as they are patched."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ray._private.runtime_env import constants
from ray.dashboard.utils import get_address_for_submission_client

from compat_alone import printed
from rayreel.compat.ray_cluster import START_HOOK, in_submitted_job

MENDED = "Ray mends this now: remove rayreel.compat.ray_cluster."
LOOPBACK = """
import os
from ray._private import services
from rayreel.compat.ray_cluster import stay_on_loopback

services.node_ip_address_from_perspective = lambda address: "192.0.2.10"
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
print(services.resolve_ip_for_localhost("127.0.0.1"))
stay_on_loopback()
print(services.resolve_ip_for_localhost("127.0.0.1"))
"""
# Replaces the hook of `ray start`, and ends it before it starts anything.
HOOK = """
from rayreel.compat.ray_cluster import without_client_server

def show(params, head):
    print(params.ray_client_server_port)
    without_client_server(params, head)
    print(params.ray_client_server_port)
    raise SystemExit(0)
"""


def test_upstream_replaces_loopback_with_the_network_address(tmp_path: Path) -> None:
    upstream, patched = printed(LOOPBACK, tmp_path).splitlines()
    assert upstream == "192.0.2.10", f"{MENDED}stay_on_loopback"
    assert patched == "127.0.0.1"


def ray_start(folder: Path, *options: str) -> str:
    (folder / "hook.py").write_text(HOOK)
    paths = f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    environment = os.environ | {"RAY_START_HOOK": "hook.show", "PYTHONPATH": paths, "RAY_TMPDIR": str(folder)}
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--port=0", *options]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return run.stdout + run.stderr


def test_upstream_starts_a_client_server_unless_a_hook_prevents_it(tmp_path: Path) -> None:
    *_, upstream, patched = ray_start(tmp_path).splitlines()
    assert upstream == "10001", f"{MENDED}without_client_server"
    assert patched == "None"
    assert "must be an integer between 1024 and 65535" in ray_start(tmp_path, "--ray-client-server-port=0")


def test_the_hook_has_a_name_that_ray_can_import() -> None:
    assert START_HOOK == "rayreel.compat.ray_cluster.without_client_server"


def test_upstream_prefers_a_variable_to_the_given_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://192.0.2.10:8265")
    found = get_address_for_submission_client("192.0.2.20:6379")
    assert found == "http://192.0.2.10:8265", f"{MENDED}job_server_url"


def test_a_submitted_job_is_recognised_by_rays_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(constants.RAY_JOB_CONFIG_JSON_ENV_VAR, raising=False)
    assert not in_submitted_job()
    monkeypatch.setenv(constants.RAY_JOB_CONFIG_JSON_ENV_VAR, "{}")
    assert in_submitted_job()
