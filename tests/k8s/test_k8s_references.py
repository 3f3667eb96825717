"""References between objects: names, ports, selectors and keys."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import secrets_file
from k8s_manifests import (
    OVERLAY_NAMES,
    RAY,
    ROOT,
    Object,
    Pod,
    cluster_spec,
    everything,
    named,
    of_kind,
    pods,
    rendered,
    selected,
)

# Written by `submit.py publish`, not by an overlay.
PUBLISHED = {"rayreel-jobs"}
# Namespaces and labels of others.
OTHERS = {"kube-system", "monitoring", "kuberay-operator", "milvus-operator", "istio-system"}
GATEWAY = "gateway.networking.k8s.io/gateway-name"


def metadata_names(objects: list[Object], kind: str) -> set[str]:
    return {item["metadata"]["name"] for item in of_kind(objects, kind)}


def config_maps(pod: Pod) -> Iterator[str]:
    for container in pod.containers:
        yield from (
            source["configMapRef"]["name"] for source in container.get("envFrom", []) if "configMapRef" in source
        )
    yield from (volume["configMap"]["name"] for volume in pod.spec.get("volumes", []) if "configMap" in volume)


def secret_keys(item: object) -> Iterator[tuple[str, str | None]]:
    """Yield (secret, key) of every reference in an object; key None: the whole secret."""
    if isinstance(item, dict):
        for key, value in item.items():
            if key == "secretKeyRef":
                yield value["name"], value["key"]
            elif key in {"secretRef", "secret"}:
                yield (value, None) if isinstance(value, str) else (value.get("name") or value["secretName"], None)
            else:
                yield from secret_keys(value)
    elif isinstance(item, list):
        for value in item:
            yield from secret_keys(value)


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_config_maps_accounts_classes_and_claims_of_pods_exist(overlay: str) -> None:
    objects = everything(overlay)
    maps = metadata_names(objects, "ConfigMap") | PUBLISHED
    accounts, classes = metadata_names(objects, "ServiceAccount"), metadata_names(objects, "PriorityClass")
    claims = metadata_names(objects, "PersistentVolumeClaim")
    for pod in pods(objects):
        assert set(config_maps(pod)) <= maps, pod.of
        assert pod.spec["serviceAccountName"] in accounts, pod.of
        assert pod.spec.get("priorityClassName", "rayreel-serve") in classes, pod.of
        for volume in pod.spec.get("volumes", []):
            assert volume.get("persistentVolumeClaim", {}).get("claimName") in {None, *claims}, pod.of


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_every_referenced_secret_is_created_by_the_secrets_tool_and_none_is_in_git(overlay: str) -> None:
    objects = everything(overlay)
    assert not of_kind(objects, "Secret")
    made = {item["metadata"]["name"]: item["stringData"] for item in secrets_file.secrets(overlay)}
    referred = set(secret_keys(objects))
    assert referred
    for name, key in referred:
        if name.endswith(("-tls", "-ca")):
            assert name in {entry.rpartition("/")[2] for entry in secrets_file.CERTIFICATES[overlay]}
        else:
            assert key is None or key in made[name], (name, key)
            assert name in made
    assert set(made) == {name for name, _ in referred if not name.endswith(("-tls", "-ca"))}


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_mounts_have_their_volumes(overlay: str) -> None:
    for pod in pods(everything(overlay)):
        volumes = {volume["name"] for volume in pod.spec.get("volumes", [])}
        claims = {"data"} if pod.of.startswith("StatefulSet") else set()
        for container in pod.containers:
            mounts = {mount["name"] for mount in container.get("volumeMounts", [])}
            assert mounts <= volumes | claims, pod.of


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_services_select_pods_that_have_the_port(overlay: str) -> None:
    objects = everything(overlay)
    there = list(pods(objects))
    for service in of_kind(objects, "Service"):
        chosen = [pod for pod in there if selected({"matchLabels": service["spec"]["selector"]}, pod.labels)]
        assert len(chosen) == 1, named(service)
        ports = {port["name"] for port in chosen[0].spec["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports, named(service)


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_workloads_select_their_own_pods(overlay: str) -> None:
    for item in of_kind(everything(overlay), "Deployment", "StatefulSet"):
        assert selected(item["spec"]["selector"], item["spec"]["template"]["metadata"]["labels"]), named(item)


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_probes_name_ports_of_their_container(overlay: str) -> None:
    for pod in pods(everything(overlay)):
        for container in pod.containers:
            names = {port["name"] for port in container.get("ports", [])}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                for how in ("httpGet", "tcpSocket"):
                    port = container.get(probe, {}).get(how, {}).get("port")
                    assert port is None or port in names, pod.of


def services_of(overlay: str) -> dict[str, set[int]]:
    found = {
        f"{item['metadata']['name']}": {port["port"] for port in item["spec"]["ports"]}
        for item in of_kind(everything(overlay), "Service")
    }
    if of_kind(everything(overlay), "Milvus"):
        found["milvus-milvus.rayreel-milvus"] = {19530, 9091}
    return found


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_addresses_in_settings_are_services_of_the_overlay(overlay: str) -> None:
    services = services_of(overlay)
    settings = next(
        m["data"] for m in of_kind(rendered(overlay), "ConfigMap") if m["metadata"]["name"] == "rayreel-settings"
    )
    for variable in ("MILVUS_URI", "MLFLOW_TRACKING_URI", "AWS_ENDPOINT_URL"):
        if variable in settings:
            host, port = settings[variable].split("://")[1].split(":")
            assert int(port) in services[host], variable
    if "endpoint_override" in settings["RAYREEL_STORAGE"]:
        assert settings["RAYREEL_STORAGE"].split("endpoint_override=")[1].startswith("minio:9000")
    redis = cluster_spec(of_kind(rendered(overlay), "RayService")[0])["gcsFaultToleranceOptions"]["redisAddress"]
    host, port = redis.split(":")
    assert int(port) in services[host]


def peers(policy: Object) -> Iterator[Object]:
    for rule in policy["spec"].get("ingress", []):
        yield from rule.get("from", [])
    for rule in policy["spec"].get("egress", []):
        yield from rule.get("to", [])


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_network_policies_select_existing_pods_and_namespaces(overlay: str) -> None:
    objects = everything(overlay)
    labels = [pod.labels for pod in pods(objects)]
    namespaces = metadata_names(objects, "Namespace") | OTHERS
    for policy in of_kind(objects, "NetworkPolicy"):
        for chosen in [policy["spec"]["podSelector"], *(peer.get("podSelector", {}) for peer in peers(policy))]:
            wanted = chosen.get("matchLabels", {})
            if not {GATEWAY, "k8s-app"} & set(wanted):
                assert any(selected(chosen, have) for have in labels), (named(policy), chosen)
        for peer in peers(policy):
            space = peer.get("namespaceSelector", {}).get("matchLabels", {})
            assert space.get("kubernetes.io/metadata.name") in {None, *namespaces}, named(policy)


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_network_policies_name_existing_ports(overlay: str) -> None:
    objects = everything(overlay)
    there = list(pods(objects))
    for policy in of_kind(objects, "NetworkPolicy"):
        chosen = [pod for pod in there if selected(policy["spec"]["podSelector"], pod.labels)]
        words = {
            port["port"]
            for rule in policy["spec"].get("ingress", [])
            for port in rule.get("ports", [])
            if isinstance(port["port"], str)
        }
        for pod in chosen:
            assert words <= {port["name"] for port in pod.spec["containers"][0].get("ports", [])}, named(policy)


def allowed(policies: list[Object], from_: Object, to: Object, port: int, name: str) -> bool:
    """Whether an egress rule for `from_` allows traffic to pods with labels `to`."""
    for policy in policies:
        if "Egress" not in policy["spec"]["policyTypes"] or not selected(policy["spec"]["podSelector"], from_):
            continue
        for rule in policy["spec"].get("egress", []):
            ports = {entry["port"] for entry in rule.get("ports", [])} or {port}
            near = any("podSelector" in peer and selected(peer["podSelector"], to) for peer in rule["to"])
            if near and ports & {port, name}:
                return True
    return False


def app(name: str) -> Object:
    return {"app.kubernetes.io/name": name}


HEAD = {"ray.io/is-ray-node": "yes", "ray.io/node-type": "head"}
EVERYWHERE = [
    (HEAD, app("redis"), 6379, "redis"),
    (HEAD, app("mlflow"), 5000, "http"),
    (HEAD, {"ray.io/is-ray-node": "yes"}, 10001, "client"),
    ({"rayreel.io/role": "submitter"}, HEAD, 8265, "dashboard"),
]
INSIDE = [
    (HEAD, app("milvus"), 19530, "grpc"),
    (HEAD, app("minio"), 9000, "s3"),
    (app("mlflow"), app("minio"), 9000, "s3"),
    (app("minio-users"), app("minio"), 9000, "s3"),
]
POSTGRES = [(app("mlflow"), app("postgres"), 5432, "postgres")]
NEEDED = {
    "local": [*EVERYWHERE, *INSIDE],
    "gpu": [*EVERYWHERE, *INSIDE, *POSTGRES],
    "production": [
        *EVERYWHERE,
        *POSTGRES,
        ({GATEWAY: "rayreel-gateway"}, {"rayreel.io/role": "serve"}, 8000, "serve"),
    ],
}


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_network_policies_allow_the_needed_connections_and_deny_others(overlay: str) -> None:
    objects = everything(overlay)
    policies = of_kind(objects, "NetworkPolicy")
    for from_, to, port, name in NEEDED[overlay]:
        assert allowed(policies, from_, to, port, name), (from_, to, port)
    for from_, server in (
        (HEAD, "postgres"),
        (app("mlflow"), "redis"),
        (app("minio"), "mlflow"),
        (app("redis"), "redis"),
    ):
        for port in (5432, 6379, 5000):
            assert not allowed(policies, from_, app(server), port, "http"), (from_, server)
    closed = [policy for policy in policies if policy["spec"]["podSelector"] == {} and "egress" not in policy["spec"]]
    assert [policy["spec"]["policyTypes"] for policy in closed if policy["metadata"]["namespace"] == "rayreel"] == [
        ["Ingress", "Egress"]
    ]


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_no_network_policy_allows_the_clouds_metadata_service(overlay: str) -> None:
    for policy in of_kind(everything(overlay), "NetworkPolicy"):
        for peer in peers(policy):
            if block := peer.get("ipBlock"):
                assert "169.254.0.0/16" in block["except"], named(policy)


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_disruption_budgets_are_numbers_for_existing_pods(overlay: str) -> None:
    objects = everything(overlay)
    for budget in of_kind(objects, "PodDisruptionBudget"):
        assert isinstance(budget["spec"]["minAvailable"], int)
        assert any(selected(budget["spec"]["selector"], pod.labels) for pod in pods(objects)), named(budget)


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_monitors_select_something_and_name_its_ports(overlay: str) -> None:
    objects = everything(overlay)
    for monitor in of_kind(objects, "PodMonitor"):
        chosen = [pod for pod in pods(objects) if selected(monitor["spec"]["selector"], pod.labels)]
        assert chosen, named(monitor)
        for pod in chosen:
            names = {port["name"] for port in pod.spec["containers"][0]["ports"]}
            assert {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]} <= names, pod.of
    for monitor in of_kind(objects, "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]
        services = [
            item for item in of_kind(objects, "Service") if selected(wanted, item["metadata"].get("labels", {}))
        ]
        # The Milvus operator creates the services of its cluster.
        assert services or (monitor["metadata"]["name"] == "milvus" and of_kind(objects, "Milvus")), named(monitor)
        for service in services:
            names = {port["name"] for port in service["spec"]["ports"]}
            assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= names, named(service)


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_images_are_pinned_and_ours_is_one_version(overlay: str) -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    images = {container["image"] for pod in pods(everything(overlay)) for container in pod.containers}
    for image in images:
        name, _, tag = image.partition("@")[0].rpartition(":")
        assert tag and tag != "latest", image
        if name.endswith("rayreel"):
            assert tag in {version[1], f"{version[1]}-cuda"}
    assert not any("rayreel-gpu" in image for image in images)


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_only_gpu_pods_have_the_cuda_image(overlay: str) -> None:
    for pod in pods(everything(overlay)):
        for container in pod.containers:
            wants = "nvidia.com/gpu" in container["resources"]["limits"]
            assert wants == container["image"].endswith("-cuda"), pod.of


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_ray_has_the_installed_version(overlay: str) -> None:
    pinned = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert {cluster_spec(item)["rayVersion"] for item in of_kind(everything(overlay), *RAY)} == {pinned[1]}


def test_the_ingress_points_to_the_operators_gateway() -> None:
    objects = everything("production")
    service = of_kind(objects, "RayService")[0]
    gateway = f"{service['metadata']['name']}-gateway"
    options = service["spec"]["upgradeStrategy"]["clusterUpgradeOptions"]
    rule = of_kind(objects, "Ingress")[0]["spec"]["rules"][0]["http"]["paths"][0]
    assert rule["backend"]["service"] == {"name": f"{gateway}-{options['gatewayClassName']}", "port": {"number": 80}}


def test_secrets_are_random_and_consistent() -> None:
    first, second = (
        {item["metadata"]["name"]: item["stringData"] for item in secrets_file.secrets("production")} for _ in range(2)
    )
    assert first["rayreel-redis"] != second["rayreel-redis"]
    assert first["rayreel-postgres"]["password"] in first["rayreel-mlflow"]["backend-store-uri"]
    local = {item["metadata"]["name"]: item["stringData"] for item in secrets_file.secrets("local")}
    assert local["rayreel-milvus"]["MILVUS_TOKEN"] == f"root:{local['rayreel-milvus-root']['password']}"
    assert len(json.dumps(local)) < 4096


def test_every_file_is_used_by_a_build() -> None:
    used: set[Path] = set()
    waiting = [ROOT / "k8s" / "overlays" / name for overlay in OVERLAY_NAMES for name in (overlay, f"{overlay}/jobs")]
    waiting.append(ROOT / "k8s" / "components" / "backup")  # for users to add
    while waiting:
        folder = waiting.pop().resolve()
        if folder / "kustomization.yaml" in used:
            continue
        used.add(folder / "kustomization.yaml")
        for word in re.findall(r"[\w./-]+", (folder / "kustomization.yaml").read_text()):
            path = (folder / word).resolve()
            if path.is_file():
                used.add(path)
            elif (path / "kustomization.yaml").is_file() and path != folder:
                waiting.append(path)
    kinds = {".yaml", ".json", ".env"}
    assert {path for path in (ROOT / "k8s").rglob("*") if path.suffix in kinds} - used == set()
