"""Why a job has no nodes yet, from its pods and the events of its Ray cluster."""

from collections.abc import Iterator
from typing import Any

from kubernetes import client

# Reasons of containers that only need time.
STARTING = {"ContainerCreating", "PodInitializing"}


def causes(core: client.CoreV1Api, namespace: str, job: str, cluster: str) -> list[str]:
    """Return why pods of a RayJob and its cluster wait, each cause once. Raises ApiException.

    Examples: a pod that no node has room for, an image that cannot be pulled, a quota that refuses the next pod.
    """
    selectors = (f"ray.io/cluster={cluster}", f"batch.kubernetes.io/job-name={job}")
    pods = [
        pod for selector in selectors for pod in _items(core.list_namespaced_pod, namespace, label_selector=selector)
    ]
    found = [cause for pod in pods for cause in _of_pod(pod)]
    for name in (cluster, job):
        wanted = f"involvedObject.name={name},type=Warning"
        found += [event.message for event in _items(core.list_namespaced_event, namespace, field_selector=wanted)]
    return list(dict.fromkeys(found))


def _items(call: Any, namespace: str, **query: str) -> list[Any]:  # noqa: ANN401 - untyped in the library
    found: list[Any] = call(namespace, **query).items
    return found


def _of_pod(pod: Any) -> Iterator[str]:  # noqa: ANN401 - untyped in the library
    name, status = pod.metadata.name, pod.status
    for condition in status.conditions or []:
        if condition.type == "PodScheduled" and condition.status == "False":
            yield f"pod {name} is not scheduled: {condition.message}"
    for container in [*(status.init_container_statuses or []), *(status.container_statuses or [])]:
        waiting = container.state.waiting if container.state else None
        if waiting and waiting.reason not in STARTING:
            yield f"pod {name} does not start: {waiting.reason}: {waiting.message or 'no message'}"
