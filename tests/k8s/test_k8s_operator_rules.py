"""KubeRay's rules: our objects satisfy them, and each rule detects an object that breaks it."""

import copy
from collections.abc import Callable

import pytest

from k8s_manifests import BUILDS, RAY, Object, cluster_spec, named, of_kind, rendered
from k8s_operator_rules import complaints


@pytest.mark.parametrize("name", BUILDS)
def test_every_ray_object_satisfies_the_operators_rules(name: str) -> None:
    assert {named(item): list(complaints(item)) for item in of_kind(rendered(name), *RAY)} == {
        named(item): [] for item in of_kind(rendered(name), *RAY)
    }


def head(item: Object) -> Object:
    group: Object = cluster_spec(item)["headGroupSpec"]
    return group


def worker(item: Object, number: int = -1) -> Object:
    group: Object = cluster_spec(item)["workerGroupSpecs"][number]
    return group


def env(group: Object, name: str) -> None:
    group["template"]["spec"]["containers"][0].setdefault("env", []).append({"name": name, "value": "1"})


def rules(item: Object) -> list[Object]:
    found: list[Object] = item["spec"]["deletionStrategy"]["deletionRules"]
    return found


BROKEN: list[tuple[str, Callable[[Object], object]]] = [
    ("name", lambda item: item["metadata"].update(name="x" * 48)),
    ("name", lambda item: item["metadata"].update(name="1train")),
    ("alpha", lambda item: cluster_spec(item).update(networkPolicy={})),
    ("upgradeStrategy in", lambda item: cluster_spec(item).update(upgradeStrategy={"type": "Recreate"})),
    ("authOptions", lambda item: cluster_spec(item).pop("authOptions")),
    ("2.52", lambda item: cluster_spec(item).update(rayVersion="2.51.0")),
    ("autoscaler v2", lambda item: cluster_spec(item)["autoscalerOptions"].update(version="v1")),
    ("runs tasks", lambda item: head(item).update(rayStartParams={})),
    ("not a string", lambda item: worker(item).update(rayStartParams={"num-cpus": 4})),
    ("labels in", lambda item: worker(item).update(rayStartParams={"labels": "a=b"})),
    ("as fields and", lambda item: head(item).update(resources={"CPU": "1"})),
    ("restartPolicy", lambda item: worker(item)["template"]["spec"].update(restartPolicy="Always")),
    ("RAY_enable", lambda item: env(head(item), "RAY_enable_autoscaler_v2")),
    ("replicas", lambda item: worker(item).update(minReplicas=9)),
    ("suspend", lambda item: worker(item).update(suspend=True)),
    ("two groups", lambda item: worker(item).update(groupName="cpu")),
    ("nvidia.com/gpu", lambda item: gpu(item)["resources"]["requests"].pop("nvidia.com/gpu")),
    ("toleration", lambda item: worker(item)["template"]["spec"].pop("tolerations")),
    ("nodeSelector", lambda item: worker(item)["template"]["spec"].pop("nodeSelector")),
    ("/dev/shm", lambda item: gpu(item).update(volumeMounts=[])),
    ("without a GPU", lambda item: worker(item, 0)["template"]["spec"].update(tolerations=[{"key": "nvidia.com/gpu"}])),
    ("Redis in", lambda item: env(head(item), "RAY_REDIS_ADDRESS")),
    ("redis-password", lambda item: head(item)["rayStartParams"].update({"redis-password": "x"})),
]
JOBS: list[tuple[str, Callable[[Object], object]]] = [
    ("activeDeadline", lambda item: item["spec"].update(activeDeadlineSeconds=0)),
    ("backoffLimit", lambda item: item["spec"].update(backoffLimit=-1)),
    ("submissionMode", lambda item: item["spec"].update(submissionMode="JobMode")),
    ("a submitter", lambda item: item["spec"].update(submissionMode="SidecarMode")),
    ("retries", lambda item: item["spec"].update(submissionMode="InteractiveMode")),
    ("together with shutdown", lambda item: item["spec"].update(shutdownAfterJobFinishes=True)),
    ("nothing deletes", lambda item: item["spec"].pop("deletionStrategy")),
    ("conditions", lambda item: rules(item)[0]["condition"].update(jobDeploymentStatus="Failed")),
    ("DeleteWorkers", lambda item: rules(item)[0].update(policy="DeleteWorkers")),
    ("twice", lambda item: rules(item).append(copy.deepcopy(rules(item)[0]))),
    ("fall", lambda item: rules(item)[1]["condition"].update(ttlSeconds=1)),
]
SERVICES: list[tuple[str, Callable[[Object], object]]] = [
    ("does nothing", lambda item: item["spec"].update(serviceUnhealthySecondThreshold=300)),
    ("upgradeStrategy", lambda item: item["spec"].update(upgradeStrategy={"type": "Rolling"})),
    ("gatewayClassName", lambda item: upgrade(item).pop("gatewayClassName")),
    ("stepSizePercent", lambda item: upgrade(item).update(stepSizePercent=50)),
    ("intervalSeconds", lambda item: upgrade(item).pop("intervalSeconds")),
    ("headService", lambda item: head(item).update(headService={"metadata": {"name": "x"}})),
    ("port named serve", lambda item: head(item)["template"]["spec"]["containers"][0].update(ports=[])),
    ("GCS storage", lambda item: cluster_spec(item)["gcsFaultToleranceOptions"].update(backend="rocksdb")),
    ("from a secret", lambda item: cluster_spec(item)["gcsFaultToleranceOptions"].update(redisPassword={"value": "x"})),
]


def gpu(item: Object) -> Object:
    container: Object = worker(item)["template"]["spec"]["containers"][0]
    return container


def upgrade(item: Object) -> Object:
    options: Object = item["spec"]["upgradeStrategy"]["clusterUpgradeOptions"]
    return options


@pytest.mark.parametrize(("complaint", "breaks"), [*BROKEN, *JOBS])
def test_a_job_that_breaks_a_rule_is_detected(complaint: str, breaks: Callable[[Object], object]) -> None:
    item = copy.deepcopy(next(job for job in rendered("gpu/jobs") if job["metadata"]["name"] == "train"))
    breaks(item)
    assert any(complaint in text for text in complaints(item)), list(complaints(item))


@pytest.mark.parametrize(("complaint", "breaks"), [*BROKEN, *SERVICES])
def test_a_service_that_breaks_a_rule_is_detected(complaint: str, breaks: Callable[[Object], object]) -> None:
    item = copy.deepcopy(of_kind(rendered("production"), "RayService")[0])
    breaks(item)
    assert any(complaint in text for text in complaints(item)), list(complaints(item))
