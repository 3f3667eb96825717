"""The rendered objects of the overlays, and their pods."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rendering import OVERLAYS, build, overlays

Object = dict[str, Any]
ROOT = Path(__file__).parents[1]
OVERLAY_NAMES = overlays()
BUILDS = [name for overlay in OVERLAY_NAMES for name in (overlay, f"{overlay}/jobs")]
# Kinds of operators, some of whose schemas are in shared/k8s.
RAY = {"RayService", "RayJob"}
OF_OPERATORS = {"PodMonitor", "ServiceMonitor", "PrometheusRule", "Milvus"}


def rendered(name: str) -> tuple[Object, ...]:
    """Return the objects of a build such as `gpu` or `gpu/jobs`."""
    return build(OVERLAYS / name)


def everything(overlay: str) -> list[Object]:
    """Return the objects of an overlay's platform and its jobs, which refer to each other."""
    return [*rendered(overlay), *rendered(f"{overlay}/jobs")]


def of_kind(objects: list[Object] | tuple[Object, ...], *kinds: str) -> list[Object]:
    return [item for item in objects if item["kind"] in kinds]


def named(item: Object) -> str:
    return f"{item['kind']}/{item['metadata']['name']}"


def cluster_spec(item: Object) -> Object:
    """Return the RayClusterSpec of a RayService or RayJob."""
    spec: Object = item["spec"].get("rayClusterConfig") or item["spec"]["rayClusterSpec"]
    return spec


@dataclass(frozen=True)
class Pod:
    """A pod template of an object: its place in the object, labels and spec."""

    of: str
    namespace: str
    labels: Object
    spec: Object

    @property
    def containers(self) -> list[Object]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def pods(objects: list[Object]) -> Iterator[Pod]:
    """Yield all pod templates, with the labels that the operator adds to Ray's."""
    for item in objects:
        for where, template, added in _templates(item):
            labels = {**template.get("metadata", {}).get("labels", {}), **added}
            yield Pod(f"{named(item)} {where}", item["metadata"].get("namespace", ""), labels, template["spec"])


def _templates(item: Object) -> Iterator[tuple[str, Object, Object]]:
    spec = item.get("spec", {})
    match item["kind"]:
        case "Deployment" | "StatefulSet" | "Job":
            yield "", spec["template"], {}
        case "CronJob":
            yield "", spec["jobTemplate"]["spec"]["template"], {}
        case "RayService" | "RayJob":
            cluster, ray = cluster_spec(item), {"ray.io/is-ray-node": "yes"}
            yield "head", cluster["headGroupSpec"]["template"], {**ray, "ray.io/node-type": "head"}
            for group in cluster["workerGroupSpecs"]:
                yield group["groupName"], group["template"], {**ray, "ray.io/node-type": "worker"}
            if "submitterPodTemplate" in spec:
                yield "submitter", spec["submitterPodTemplate"], {}


def selected(selector: Object, labels: Object) -> bool:
    """Whether a selector of matchLabels matches these labels; an empty one matches all."""
    assert set(selector) <= {"matchLabels"}, selector
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def quantity(text: str | int | float) -> float:
    """Return a Kubernetes quantity as a number."""
    units = {"m": 1e-3, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 1e3, "M": 1e6, "G": 1e9}
    word = str(text)
    suffix = next((unit for unit in sorted(units, key=len, reverse=True) if word.endswith(unit)), "")
    return float(word.removesuffix(suffix)) * units.get(suffix, 1)
