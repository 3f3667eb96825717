"""The scripts that install and remove an overlay, with kubectl against an API server for tests.

The server refuses objects of namespaces that do not exist, so a wrong order fails. It runs no pods and has no schemas.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import secrets_file
from k8s_api_server import ApiServer, plural_of
from k8s_manifests import OVERLAY_NAMES, ROOT, rendered
from rendering import kubectl

pytestmark = pytest.mark.slow

CRDS = ["rayservices.ray.io", "podmonitors.monitoring.coreos.com", "gateways.gateway.networking.k8s.io"]
CRDS += ["milvuses.milvus.io"]


def operator(server: ApiServer) -> None:
    """Act as KubeRay for the service: create its cluster, and report that it is ready."""

    def bring_up(service: dict[str, Any]) -> None:
        metadata = {"name": "rayreel-abcde", "namespace": "rayreel", "finalizers": ["ray.io/gcs-ft-redis-cleanup"]}
        server.put("rayclusters", {"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": metadata}, "ADDED")
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        server.put("rayservices", {**service, "status": ready})

    server.on_create = lambda made: bring_up(made) if made["kind"] == "RayService" else None


def with_operators(server: ApiServer, crds: list[str]) -> None:
    for name in crds:
        crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name}}
        server.put("customresourcedefinitions", crd)
    server.remove(("namespaces", "", "rayreel"))
    operator(server)


def script(folder: Path, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a script of k8s/ with a kubectl that does not ask the server for schemas."""
    wrapper = folder / "kubectl"
    skip = '[ "$1" = apply ] && shift && set -- apply --validate=false "$@"'
    wrapper.write_text(f'#!/bin/sh\n{skip}\nexec {kubectl()} "$@"\n')
    wrapper.chmod(0o755)
    env = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PYTHON": sys.executable, "WAIT_S": "20"}
    command = ["sh", str(ROOT / "k8s" / name), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=120)


def create_secrets(server: ApiServer, overlay: str) -> None:
    for place, _, name in (entry.partition("/") for entry in secrets_file.names(overlay)):
        server.put("secrets", {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": place}})


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_an_overlay_is_installed_on_an_empty_cluster_twice_and_removed(
    server: ApiServer, tmp_path: Path, overlay: str
) -> None:
    with_operators(server, CRDS)
    if overlay == "production":
        done = script(tmp_path, "install.sh", overlay)
        assert done.returncode == 1
        assert "Missing secrets:" in done.stderr
        create_secrets(server, overlay)
    for _ in range(2):
        done = script(tmp_path, "install.sh", overlay)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "The service is ready" in done.stdout
    for item in rendered(overlay):
        place = item["metadata"].get("namespace", "")
        assert (plural_of(item["kind"]), place, item["metadata"]["name"]) in server.objects
    assert (("configmaps", "rayreel", "rayreel-jobs") in server.objects) == (overlay != "local")

    assert script(tmp_path, "uninstall.sh", overlay).returncode == 2  # without --delete-all-data
    done = script(tmp_path, "uninstall.sh", overlay, "--delete-all-data")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {key for key in server.objects if key[0] != "customresourcedefinitions"} == {("namespaces", "", "default")}


def test_secrets_are_created_once_because_stores_keep_their_first_passwords(server: ApiServer, tmp_path: Path) -> None:
    with_operators(server, CRDS)
    assert script(tmp_path, "install.sh", "local").returncode == 0
    before = server.objects["secrets", "rayreel", "rayreel-redis"]["stringData"]
    assert script(tmp_path, "install.sh", "local").returncode == 0
    assert server.objects["secrets", "rayreel", "rayreel-redis"]["stringData"] == before


@pytest.mark.parametrize(("overlay", "missing"), [("local", CRDS[0]), ("gpu", CRDS[1]), ("production", CRDS[2])])
def test_a_missing_prerequisite_is_named_before_anything_is_created(
    server: ApiServer, tmp_path: Path, overlay: str, missing: str
) -> None:
    with_operators(server, [name for name in CRDS if name != missing])
    done = script(tmp_path, "install.sh", overlay)
    assert done.returncode == 1
    assert f"The cluster has no {missing}" in done.stderr
    assert ("namespaces", "", "rayreel") not in server.objects


def test_a_namespace_that_was_deleted_first_is_released(server: ApiServer, tmp_path: Path) -> None:
    with_operators(server, CRDS)
    assert script(tmp_path, "install.sh", "local").returncode == 0
    server.delete(("namespaces", "", "rayreel"))
    assert ("rayclusters", "rayreel", "rayreel-abcde") in server.objects  # its finalizer waits for a Job
    assert script(tmp_path, "uninstall.sh", "local", "--delete-all-data").returncode == 0
    assert ("namespaces", "", "rayreel") not in server.objects
