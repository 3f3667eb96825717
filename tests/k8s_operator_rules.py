"""Rules of KubeRay 1.7 beyond its schemas, and the advice in its field comments. Source: its Go types."""

import re
from collections.abc import Iterator

from k8s_manifests import Object, cluster_spec

DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?$")
LONGEST = {"RayJob": 47, "RayService": 47, "RayCluster": 53}
ALPHA = {"networkPolicy", "tlsOptions", "historyServerOptions"}
RESOURCES = {"num-cpus", "num-gpus", "memory", "resources"}
ORDER = ("DeleteWorkers", "DeleteCluster", "DeleteSelf")


def complaints(item: Object) -> Iterator[str]:
    """Yield the rules that a RayService or RayJob breaks."""
    name, kind = item["metadata"]["name"], item["kind"]
    if not DNS_1035.match(name) or len(name) > LONGEST[kind]:
        yield f"name {name!r}"
    yield from cluster_complaints(cluster_spec(item), kind)
    yield from job_complaints(item["spec"]) if kind == "RayJob" else service_complaints(item["spec"])


def cluster_complaints(spec: Object, kind: str) -> Iterator[str]:
    """Yield the broken rules of a RayClusterSpec."""
    yield from (f"{field} needs an alpha feature gate" for field in ALPHA & set(spec))
    if "upgradeStrategy" in spec:
        yield f"upgradeStrategy in a cluster made by a {kind}"
    if spec.get("authOptions", {}).get("mode") != "token":
        yield "authOptions.mode is not token"
    elif tuple(map(int, spec.get("rayVersion", "0").split(".")[:2])) < (2, 52):
        yield "token auth needs rayVersion 2.52"
    scales = spec.get("enableInTreeAutoscaling") and spec.get("autoscalerOptions", {}).get("version") == "v2"
    if not scales:
        yield "autoscaler v2 is off"
    head = spec["headGroupSpec"]
    if head.get("rayStartParams", {}).get("num-cpus") != "0":
        yield "the head runs tasks"
    if kind == "RayService" and head.get("headService", {}).get("metadata", {}).get("name"):
        yield "headService.metadata.name is set"
    groups = [("head", head), *((group["groupName"], group) for group in spec["workerGroupSpecs"])]
    if len({name for name, _ in groups}) < len(groups):
        yield "two groups with one name"
    for where, group in groups:
        yield from (f"{where}: {text}" for text in group_complaints(group, worker=where != "head"))
    yield from fault_tolerance_complaints(spec, head)


def group_complaints(group: Object, *, worker: bool) -> Iterator[str]:
    """Yield the broken rules of a head or worker group."""
    params, pod = group.get("rayStartParams", {}), group["template"]["spec"]
    yield from (f"rayStartParams {key} is not a string" for key, value in params.items() if not isinstance(value, str))
    if "labels" in params:
        yield "labels in rayStartParams"
    if RESOURCES & set(params) and group.get("resources"):
        yield "resources as fields and in rayStartParams"
    if pod.get("restartPolicy", "Never") != "Never":
        yield "restartPolicy with autoscaler v2"
    container = pod["containers"][0]
    if any(variable["name"] == "RAY_enable_autoscaler_v2" for variable in container.get("env", [])):
        yield "RAY_enable_autoscaler_v2 together with autoscalerOptions.version"
    if worker:
        least, most = group.get("minReplicas"), group.get("maxReplicas")
        if least is None or most is None or not 0 <= least <= group.get("replicas", 0) <= most:
            yield f"replicas {group.get('replicas', 0)} of {least} to {most}"
        if group.get("suspend"):
            yield "suspend with autoscaling"
        yield from accelerator_complaints(pod, container)


def accelerator_complaints(pod: Object, container: Object) -> Iterator[str]:
    """A pod with GPUs must select GPU nodes, have equal requests and limits, and have shared memory."""
    kinds = ("requests", "limits")
    counts = [container["resources"].get(kind, {}).get("nvidia.com/gpu") for kind in kinds]
    if counts == [None, None]:
        if any(toleration.get("key") == "nvidia.com/gpu" for toleration in pod.get("tolerations", [])):
            yield "tolerates GPU nodes without a GPU"
        return
    if counts[0] != counts[1] or not isinstance(counts[0], str):
        yield f"nvidia.com/gpu {counts}"
    wanted = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    if wanted not in pod.get("tolerations", []):
        yield "no toleration of GPU nodes"
    if not pod.get("nodeSelector"):
        yield "no nodeSelector for the accelerator"
    shared = {mount["name"] for mount in container.get("volumeMounts", []) if mount["mountPath"] == "/dev/shm"}
    if not any(v["name"] in shared and v.get("emptyDir", {}).get("medium") == "Memory" for v in pod.get("volumes", [])):
        yield "no memory on /dev/shm"


def fault_tolerance_complaints(spec: Object, head: Object) -> Iterator[str]:
    """GCS fault tolerance must be configured only by its own field."""
    variables = {variable["name"] for variable in head["template"]["spec"]["containers"][0].get("env", [])}
    if variables & {"RAY_REDIS_ADDRESS", "REDIS_PASSWORD", "REDIS_USERNAME"}:
        yield "Redis in the head's environment"
    if "redis-password" in head.get("rayStartParams", {}):
        yield "redis-password in rayStartParams"
    options = spec.get("gcsFaultToleranceOptions")
    if options and (options.get("backend", "redis") != "redis" or "storage" in options):
        yield "GCS storage other than Redis needs an alpha feature gate"
    if options and "valueFrom" not in options.get("redisPassword", {}):
        yield "redisPassword is not taken from a secret"


def job_complaints(spec: Object) -> Iterator[str]:
    """Yield the broken rules of a RayJob."""
    for field in ("activeDeadlineSeconds", "preRunningDeadlineSeconds"):
        if spec.get(field, 0) <= 0:
            yield f"{field} is not positive"
    if spec.get("backoffLimit", -1) < 0:
        yield "backoffLimit is negative or unset"
    mode = spec.get("submissionMode")
    if mode not in {"K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode"}:
        yield f"submissionMode {mode}"
    if mode == "SidecarMode" and {"submitterPodTemplate", "submitterConfig"} & set(spec):
        yield "a submitter in SidecarMode"
    if mode == "InteractiveMode" and spec.get("backoffLimit"):
        yield "retries in InteractiveMode"
    rules = spec.get("deletionStrategy", {}).get("deletionRules", [])
    if rules and (spec.get("shutdownAfterJobFinishes") or "ttlSecondsAfterFinished" in spec):
        yield "deletionRules together with shutdownAfterJobFinishes or ttlSecondsAfterFinished"
    if not rules and not spec.get("shutdownAfterJobFinishes"):
        yield "nothing deletes the cluster"
    yield from deletion_complaints(rules, scales=bool(cluster_spec({"spec": spec}).get("enableInTreeAutoscaling")))


def deletion_complaints(rules: list[Object], *, scales: bool) -> Iterator[str]:
    """Each rule needs one condition, no two may be equal, and times must rise from workers to cluster to job."""
    times: dict[tuple[str, str], dict[str, int]] = {}
    for rule in rules:
        condition, policy = rule["condition"], rule["policy"]
        states = [(key, condition[key]) for key in ("jobStatus", "jobDeploymentStatus") if key in condition]
        if len(states) != 1:
            yield f"{policy} has {len(states)} conditions"
            continue
        if policy == "DeleteWorkers" and scales:
            yield "DeleteWorkers with autoscaling"
        if policy in times.setdefault(states[0], {}):
            yield f"{policy} twice for {states[0][1]}"
        times[states[0]][policy] = condition.get("ttlSeconds", 0)
    for state, found in times.items():
        rising = [found[policy] for policy in ORDER if policy in found]
        if rising != sorted(rising):
            yield f"ttlSeconds for {state[1]} fall"


def service_complaints(spec: Object) -> Iterator[str]:
    """Yield the broken rules of a RayService."""
    yield from (f"{field} does nothing" for field in spec if field.endswith("UnhealthySecondThreshold"))
    strategy = spec.get("upgradeStrategy", {})
    if strategy.get("type", "NewCluster") not in {"NewCluster", "NewClusterWithIncrementalUpgrade", "None"}:
        yield f"upgradeStrategy {strategy['type']}"
    if strategy.get("type") == "NewClusterWithIncrementalUpgrade":
        options = strategy.get("clusterUpgradeOptions", {})
        if not options.get("gatewayClassName"):
            yield "no gatewayClassName"
        if not 0 <= options.get("stepSizePercent", 101) <= options.get("maxSurgePercent", 100) <= 100:
            yield "stepSizePercent is more than maxSurgePercent"
        if options.get("intervalSeconds", 0) <= 0:
            yield "intervalSeconds is not positive"
    head = cluster_spec({"spec": spec})["headGroupSpec"]["template"]["spec"]["containers"][0]
    if not any(port["name"].startswith("serve") for port in head.get("ports", [])):
        yield "no port named serve on the head"
