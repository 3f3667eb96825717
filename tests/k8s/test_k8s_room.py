"""Whether an overlay fits into its machines, and who makes room for whom."""

import pytest
import yaml

from k8s_manifests import OVERLAY_NAMES, Object, Pod, cluster_spec, everything, of_kind, pods, quantity, rendered
from rendering import HERE as K8S

# What k8s/README.md promises for `local`, less what kube-system and the node itself need.
CPUS, MEMORY = 6 - 1, (16 - 2) * 2**30
# Requests of the operator's pod by KubeRay's Helm chart 1.7.
OPERATOR = {"cpu": 0.1, "memory": 512 * 2**20}


def requested(containers: list[Object], kind: str) -> float:
    return sum((quantity(container["resources"]["requests"][kind]) for container in containers), 0.0)


def cluster(item: Object, kind: str) -> float:
    """Return the requests of all pods of a RayService's or RayJob's cluster, with autoscaler and submitter."""
    spec = cluster_spec(item)
    groups = [(1, spec["headGroupSpec"]), *((group["maxReplicas"], group) for group in spec["workerGroupSpecs"])]
    nodes: float = sum(count * requested(group["template"]["spec"]["containers"], kind) for count, group in groups)
    submitter = item["spec"].get("submitterPodTemplate", {"spec": {"containers": []}})["spec"]["containers"]
    return nodes + requested([spec["autoscalerOptions"], *submitter], kind)


@pytest.mark.parametrize(("kind", "room"), [("cpu", CPUS), ("memory", MEMORY)])
def test_the_service_a_job_and_an_upgrade_fit_into_the_promised_machine(kind: str, room: float) -> None:
    platform = rendered("local")
    stores = sum(requested(pod.containers, kind) for pod in pods(of_kind(platform, "Deployment", "StatefulSet", "Job")))
    service = cluster(of_kind(platform, "RayService")[0], kind)
    largest_job = max(cluster(job, kind) for job in of_kind(rendered("local/jobs"), "RayJob"))
    assert OPERATOR[kind] + stores + 2 * service + largest_job <= room


def rank(pod: Pod, classes: dict[str, int]) -> int:
    return classes[pod.spec["priorityClassName"]] if "priorityClassName" in pod.spec else 0


@pytest.mark.parametrize("overlay", OVERLAY_NAMES)
def test_ray_pods_never_evict_stores_or_operators_and_jobs_evict_nothing(overlay: str) -> None:
    objects = everything(overlay)
    classes = {item["metadata"]["name"]: item for item in of_kind(objects, "PriorityClass")}
    values = {name: item["value"] for name, item in classes.items()}
    ranks = {"stores": set[int](), "serve": set[int](), "job": set[int]()}
    for pod in pods(objects):
        ray = "ray.io/is-ray-node" in pod.labels
        kind = ("serve" if "RayService" in pod.of else "job") if ray else "stores"
        if ray or pod.of.startswith(("Deployment", "StatefulSet")):
            ranks[kind].add(rank(pod, values))
    # Operators have no class, that is 0; cluster autoscalers start no nodes for pods below -10.
    assert -10 < max(ranks["job"]) < max(ranks["serve"]) <= 0 < min(ranks["stores"])
    assert classes["rayreel-batch"]["preemptionPolicy"] == "Never"


@pytest.mark.parametrize("overlay", ["base", *(f"overlays/{name}" for name in OVERLAY_NAMES)])
def test_mlflow_has_a_tag_of_its_own_where_tags_are_changed(overlay: str) -> None:
    names = {
        image["name"] for image in yaml.safe_load((K8S / overlay / "kustomization.yaml").read_text()).get("images", [])
    }
    assert "rayreel" not in names or "rayreel-mlflow" in names
