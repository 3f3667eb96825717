"""Access to the object store: the service, the jobs and MLflow have one credential and one policy each."""

import json

import pytest
from moto.iam.access_control import IAMPolicy, PermissionResult

import secrets_file
from k8s_manifests import OVERLAY_NAMES, ROOT, Pod, everything, of_kind, pods

POLICIES = ROOT / "k8s" / "components" / "minio" / "policies"
KEYS = "state/access/keys.json"


def may(role: str, action: str, key: str) -> bool:
    """Whether a role's policy allows an action on a key, as AWS evaluates it."""
    policy = IAMPolicy({"policy_name": role, "policy_document": (POLICIES / f"{role}.json").read_text()})
    return policy.is_action_permitted(f"s3:{action}", f"arn:aws:s3:::rayreel/{key}") == PermissionResult.PERMITTED


@pytest.mark.parametrize("action", ["GetObject", "PutObject", "DeleteObject"])
def test_only_the_service_can_access_the_api_keys(action: str) -> None:
    assert {role: may(role, action, KEYS) for role in secrets_file.STORAGE_ROLES} == {
        "serve": True,
        "jobs": False,
        "mlflow": False,
    }


@pytest.mark.parametrize("key", ["state/features/k/part.parquet", "state/releases/v1/rows/part.parquet", "state/"])
def test_the_service_and_the_jobs_write_the_state_and_mlflow_does_not(key: str) -> None:
    assert may("serve", "PutObject", key) and may("jobs", "PutObject", key)
    assert not may("mlflow", "GetObject", key) and not may("mlflow", "PutObject", key)


def test_only_mlflow_can_access_its_artifacts() -> None:
    key = "mlflow/1/run/artifacts/model/tower.safetensors"
    assert may("mlflow", "PutObject", key) and may("mlflow", "GetObject", key)
    assert not may("serve", "GetObject", key) and not may("jobs", "PutObject", key)


def test_no_role_can_change_the_videos() -> None:
    for role in ("serve", "jobs"):
        assert may(role, "GetObject", "catalog/clip.mp4")
        assert not may(role, "PutObject", "catalog/clip.mp4") and not may(role, "DeleteObject", "catalog/clip.mp4")


def storage_secrets(pod: Pod) -> set[str]:
    sources = [source for container in pod.containers for source in container.get("envFrom", [])]
    names = {source["secretRef"]["name"] for source in sources if "secretRef" in source}
    return {name for name in names if name.startswith("rayreel-storage")}


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_every_pod_has_the_credential_of_its_role_and_no_other(overlay: str) -> None:
    for pod in pods(everything(overlay)):
        role = {"RayService": "serve", "RayJob": "jobs", "Deployment": "mlflow"}.get(pod.of.partition("/")[0])
        without = role is None or pod.of.endswith("submitter")
        assert storage_secrets(pod) == (set() if without else {f"rayreel-storage-{role}"}), pod.of


@pytest.mark.parametrize("overlay", ["local", "gpu"])
def test_minio_creates_a_user_with_its_policy_for_each_credential(overlay: str) -> None:
    objects = everything(overlay)
    (job,) = of_kind(objects, "Job")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    referred = {entry["valueFrom"]["secretKeyRef"]["name"] for entry in container["env"] if "valueFrom" in entry}
    assert referred == {"rayreel-minio-root", *(f"rayreel-storage-{role}" for role in secrets_file.STORAGE_ROLES)}
    for role in secrets_file.STORAGE_ROLES:
        assert f'make {role} "${role.upper()}_USER" "${role.upper()}_PASSWORD"' in container["args"][0]
    maps = {item["metadata"]["name"]: item["data"] for item in of_kind(objects, "ConfigMap")}
    assert {name: json.loads(text) for name, text in maps["minio-policies"].items()} == {
        path.name: json.loads(path.read_text()) for path in POLICIES.iterdir()
    }
    root = next(item for item in of_kind(objects, "StatefulSet") if item["metadata"]["name"] == "minio")
    assert "rayreel-storage" not in json.dumps(root), "the root account of MinIO has its own credential"
