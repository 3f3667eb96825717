"""PodSecurity `restricted`, probes and resources of all pods of the overlays."""

import copy
from collections.abc import Callable, Iterator

import pytest

from k8s_manifests import OVERLAY_NAMES, Object, Pod, cluster_spec, everything, of_kind, pods, quantity

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def insecurities(spec: Object) -> Iterator[str]:
    """Yield what PodSecurity's `restricted` profile refuses. Source: Kubernetes, Pod Security Standards 1.3x."""
    pod = spec.get("securityContext", {})
    yield from (key for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key))
    yield from (
        f"volume {volume['name']}" for volume in spec.get("volumes", []) if not set(volume) - {"name"} <= VOLUMES
    )
    yield from ("sysctls" for _ in pod.get("sysctls", []))
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        own = container.get("securityContext", {})
        merged = {**pod, **own}
        if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
            yield "allowPrivilegeEscalation"
        if own.get("capabilities", {}).get("drop") != ["ALL"] or set(own["capabilities"].get("add", [])) > {
            "NET_BIND_SERVICE"
        }:
            yield "capabilities"
        if merged.get("runAsNonRoot") is not True or merged.get("runAsUser") == 0:
            yield "runAsNonRoot"
        if own.get("readOnlyRootFilesystem") is not True:  # beyond `restricted`
            yield "readOnlyRootFilesystem"
        if merged.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"}:
            yield "seccompProfile"
        yield from ("hostPort" for port in container.get("ports", []) if port.get("hostPort"))


def restricted(overlay: str) -> list[Pod]:
    """Return our pods, all of which are in namespaces that enforce the profile."""
    objects = everything(overlay)
    levels = {
        item["metadata"]["name"]: item["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        for item in of_kind(objects, "Namespace")
    }
    found = list(pods(objects))
    assert found
    assert {levels[pod.namespace] for pod in found} == {"restricted"}
    return found


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_every_pod_passes_pod_security_restricted(overlay: str) -> None:
    assert {pod.of: list(insecurities(pod.spec)) for pod in restricted(overlay)} == {
        pod.of: [] for pod in restricted(overlay)
    }


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_containers_added_by_the_operator_are_restricted_too(overlay: str) -> None:
    for item in of_kind(everything(overlay), "RayService", "RayJob"):
        cluster = cluster_spec(item)
        pod = cluster["headGroupSpec"]["template"]["spec"]
        context = cluster["autoscalerOptions"]["securityContext"]
        autoscaler = {"name": "autoscaler", "securityContext": context}
        assert list(insecurities({**pod, "containers": [autoscaler]})) == []


@pytest.mark.parametrize(
    ("complaint", "breaks"),
    [
        ("runAsNonRoot", lambda pod: pod["securityContext"].update(runAsUser=0)),
        (
            "seccompProfile",
            lambda pod: (pod["securityContext"].pop("seccompProfile"), own(pod).pop("seccompProfile", 0)),
        ),
        ("allowPrivilegeEscalation", lambda pod: own(pod).pop("allowPrivilegeEscalation")),
        ("readOnlyRootFilesystem", lambda pod: own(pod).pop("readOnlyRootFilesystem")),
        ("capabilities", lambda pod: own(pod)["capabilities"].update(add=["NET_BIND_SERVICE", "SYS_PTRACE"])),
        ("capabilities", lambda pod: own(pod).update(capabilities={"drop": ["NET_RAW"]})),
        ("volume", lambda pod: pod.setdefault("volumes", []).append({"name": "x", "hostPath": {"path": "/"}})),
        ("hostPort", lambda pod: pod["containers"][0].setdefault("ports", []).append({"hostPort": 80})),
        ("hostNetwork", lambda pod: pod.update(hostNetwork=True)),
    ],
)
def test_a_pod_that_breaks_the_profile_is_detected(complaint: str, breaks: Callable[[Object], object]) -> None:
    for pod in restricted("production"):
        spec = copy.deepcopy(pod.spec)
        breaks(spec)
        assert any(complaint in text for text in insecurities(spec)), pod.of


def own(pod: Object) -> Object:
    found: Object = pod["containers"][0]["securityContext"]
    return found


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_pods_with_a_read_only_root_have_a_writable_tmp_as_home(overlay: str) -> None:
    maps = {item["metadata"]["name"]: item["data"] for item in of_kind(everything(overlay), "ConfigMap")}
    for pod in restricted(overlay):
        for container in pod.containers:
            paths = {mount["mountPath"] for mount in container["volumeMounts"]}
            assert "/tmp" in paths or "redis" in pod.of, pod.of
            if container["image"].startswith("rayreel"):
                sources = [source.get("configMapRef", {}).get("name") for source in container.get("envFrom", [])]
                variables = {k: v for name in sources if name for k, v in maps[name].items()}
                variables |= {entry["name"]: entry.get("value") for entry in container.get("env", [])}
                assert variables["HOME"] == "/tmp", pod.of
    for item in of_kind(everything(overlay), "RayService", "RayJob"):
        cluster = cluster_spec(item)
        assert {"name": "tmp", "mountPath": "/tmp"} in cluster["autoscalerOptions"]["volumeMounts"]


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_every_container_has_requests_and_ray_never_overcommits_memory(overlay: str) -> None:
    for pod in restricted(overlay):
        for container in pod.containers:
            requests, limits = container["resources"]["requests"], container["resources"]["limits"]
            for kind in ("cpu", "memory"):
                assert quantity(requests[kind]) <= quantity(limits[kind]), pod.of
            if pod.labels.get("ray.io/node-type") == "worker" and overlay != "local":
                # Ray schedules by limits, so requests must equal them.
                assert requests == limits, pod.of
        if "ray.io/node-type" in pod.labels:
            # Ray's object store uses 30 % of the memory, and the disk if /dev/shm is smaller.
            volume = next(volume for volume in pod.spec["volumes"] if volume["name"] == "shm")
            assert volume["emptyDir"] == {"medium": "Memory"}, pod.of


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_every_server_has_probes_and_rays_pods_have_only_the_operators(overlay: str) -> None:
    for pod in restricted(overlay):
        container = pod.spec["containers"][0]
        if pod.of.startswith(("Deployment", "StatefulSet")):
            assert {"readinessProbe", "livenessProbe"} <= set(container), pod.of
        else:
            assert not {"readinessProbe", "livenessProbe"} & set(container), pod.of


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_only_heads_and_the_schedule_get_a_kubernetes_token(overlay: str) -> None:
    accounts = {item["metadata"]["name"]: item for item in of_kind(everything(overlay), "ServiceAccount")}
    for pod in restricted(overlay):
        account = accounts[pod.spec["serviceAccountName"]]
        gets = pod.spec.get("automountServiceAccountToken", account["automountServiceAccountToken"])
        needs = pod.labels.get("ray.io/node-type") == "head" or pod.of.startswith("CronJob")
        assert gets == needs, pod.of


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_roles_have_no_wildcards_and_no_access_to_secrets(overlay: str) -> None:
    objects = everything(overlay)
    assert not of_kind(objects, "ClusterRole", "ClusterRoleBinding")
    for role in of_kind(objects, "Role"):
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert "secrets" not in rule["resources"]


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_images_of_stores_are_pinned_by_digest(overlay: str) -> None:
    images = {str(container["image"]) for pod in pods(everything(overlay)) for container in pod.spec["containers"]}
    stores = [image for image in images if image.startswith(("minio/", "postgres:", "redis:"))]
    assert stores
    assert [image for image in stores if "@sha256:" not in image] == []
