"""The parts of a Kubernetes API server that the submit tool uses: objects, watches, logs of pods and errors."""

import json
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import yaml

Object = dict[str, Any]
_PATH = re.compile(
    r"/(?:api/v1|apis/[^/]+/[^/]+)(?:/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?(?P<log>/log)?$"
)
# What kubectl asks for: group and version -> kinds.
RESOURCES = {
    "v1": (
        *("Namespace", "Secret", "ConfigMap", "Service", "ServiceAccount", "PersistentVolumeClaim", "Pod", "Event"),
        *("ResourceQuota", "LimitRange"),
    ),
    "apps/v1": ("Deployment", "StatefulSet"),
    "batch/v1": ("Job", "CronJob"),
    "policy/v1": ("PodDisruptionBudget",),
    "networking.k8s.io/v1": ("NetworkPolicy", "Ingress"),
    "rbac.authorization.k8s.io/v1": ("Role", "RoleBinding"),
    "scheduling.k8s.io/v1": ("PriorityClass",),
    "apiextensions.k8s.io/v1": ("CustomResourceDefinition",),
    "ray.io/v1": ("RayService", "RayJob", "RayCluster"),
    "monitoring.coreos.com/v1": ("PodMonitor", "ServiceMonitor", "PrometheusRule"),
    "milvus.io/v1beta1": ("Milvus",),
}
ACTIVE: Object = {"status": {"phase": "Active"}}
CLUSTER_WIDE = {"Namespace", "PriorityClass", "CustomResourceDefinition"}


@dataclass
class Trouble:
    """An error for the next `times` requests with this method and path. status None: close the connection."""

    method: str
    part: str
    status: int | None
    answer: Object | str
    times: int
    afterwards: bool = False


@dataclass
class Log:
    """The output of a pod."""

    lines: list[str] = field(default_factory=list)
    ended: bool = False


class ApiServer:
    """A server on loopback, as a context manager. `status` acts as the operator and `write_log` as the driver."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.events: list[tuple[int, str, str, Object]] = []
        self.logs: dict[str, Log] = {}
        self.knows_rayjobs = True
        self.requests: list[str] = []
        self.troubles: list[Trouble] = []
        self.on_create: Callable[[Object], None] | None = None
        self.changed = threading.Condition()
        self.version, self.oldest, self.watches = 1, 0, 0
        for name in ("default", "rayreel"):
            self.put("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, **ACTIVE})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"server_state": self}))
        self._http.daemon_threads = True

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def kubeconfig(self, folder: Path, url: str | None = None) -> Path:
        """Write a kubeconfig for this server and return its path."""
        named = {"name": "test"}
        tree = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{**named, "cluster": {"server": url or self.url}}],
            "users": [{**named, "user": {"token": "secret"}}],
            "contexts": [{**named, "context": {"cluster": "test", "user": "test"}}],
        }
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(tree))
        return path

    def trouble(
        self,
        method: str,
        part: str,
        status: int | None,
        answer: Object | str = "",
        *,
        times: int = 1,
        afterwards: bool = False,
    ) -> None:
        """Make matching requests fail, with `afterwards` after they have been carried out."""
        self.troubles.append(Trouble(method, part, status, answer, times, afterwards))

    def put(self, plural: str, manifest: Object, event: str = "MODIFIED") -> Object:
        """Store an object and notify watches."""
        with self.changed:
            self.version += 1
            metadata = manifest["metadata"]
            metadata["resourceVersion"] = str(self.version)
            metadata.setdefault("creationTimestamp", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
            self.objects[plural, metadata.get("namespace", ""), metadata["name"]] = manifest
            self.events.append((self.version, plural, event, json.loads(json.dumps(manifest))))
            self.changed.notify_all()
        return manifest

    def remove(self, key: tuple[str, str, str]) -> None:
        with self.changed:
            self.version += 1
            self.events.append((self.version, key[0], "DELETED", self.objects.pop(key)))
            self.changed.notify_all()

    def delete(self, key: tuple[str, str, str]) -> None:
        """Delete an object: at once, or when its finalizers are gone. A namespace takes its objects along."""
        item = self.objects[key]
        self.put(key[0], {**item, "metadata": {**item["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}})
        if key[0] == "namespaces":
            self.put("namespaces", {**self.objects[key], "status": {"phase": "Terminating"}})
            for inside in [other for other in self.objects if other[1] == key[2]]:
                self.delete(inside)
        if key[0] == "rayclusters" and self.objects["namespaces", "", key[1]]["status"]["phase"] == "Active":
            # The operator's cleanup Job, which a terminating namespace refuses.
            self.objects[key]["metadata"]["finalizers"] = []
        self.finalize(key)

    def finalize(self, key: tuple[str, str, str]) -> None:
        """Remove a deleted object without finalizers, and a deleted namespace without objects."""
        metadata = self.objects.get(key, {"metadata": {}})["metadata"]
        empty = key[0] != "namespaces" or not any(other[1] == key[2] for other in self.objects)
        if "deletionTimestamp" in metadata and not metadata.get("finalizers") and empty:
            self.remove(key)
            place = "namespaces", "", key[1]
            if place in self.objects:
                self.finalize(place)

    def status(self, name: str, deployment: str, job: str = "", **more: object) -> None:
        """Set a RayJob's status, as the operator does."""
        found = self.objects["rayjobs", "rayreel", name]
        status = {**found.get("status", {}), "jobDeploymentStatus": deployment, "jobStatus": job, **more}
        self.put("rayjobs", {**found, "metadata": dict(found["metadata"]), "status": status})

    def submitter(self, job: str, pod: str) -> None:
        """Create the pod that prints the driver's output."""
        labels = {"batch.kubernetes.io/job-name": job}
        self.logs[pod] = Log()
        self.put("pods", {"metadata": {"name": pod, "namespace": "rayreel", "labels": labels}})

    def pending(self, job: str, reason: str) -> None:
        """Create a pod of the job's cluster that cannot be scheduled for this reason."""
        labels = {"ray.io/cluster": f"{job}-abcde"}
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": reason}
        metadata = {"name": f"{job}-worker", "namespace": "rayreel", "labels": labels}
        self.put("pods", {"metadata": metadata, "status": {"phase": "Pending", "conditions": [condition]}})

    def warning(self, about: str, message: str) -> None:
        """Create a warning about an object, as operators do."""
        metadata = {"name": f"{about}.1", "namespace": "rayreel"}
        event = {"metadata": metadata, "involvedObject": {"name": about}, "type": "Warning", "message": message}
        self.put("events", event)

    def write_log(self, pod: str, line: str) -> None:
        """Add a line to a pod's log."""
        with self.changed:
            stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + f"{len(self.logs[pod].lines):03d}Z"
            self.logs[pod].lines.append(f"{stamp} {line}")
            self.changed.notify_all()

    def end(self, pod: str) -> None:
        with self.changed:
            self.logs[pod].ended = True
            self.changed.notify_all()

    def break_watches(self) -> None:
        """Close all open watches and discard old events, as in a restart."""
        with self.changed:
            self.watches += 1
            self.oldest = self.version
            self.changed.notify_all()

    def count(self, method: str, part: str) -> int:
        """Return the number of matching requests so far."""
        return sum(request.startswith(method) and part in request for request in self.requests)


def refusal(code: int, reason: str, message: str, **details: str) -> Object:
    """Return a Status object, as API servers do."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
        "details": details,
    }


def plural_of(kind: str) -> str:
    """Return the name of a kind in paths."""
    word = kind.lower()
    return word + "es" if word.endswith("s") else word[:-1] + "ies" if word.endswith("y") else word + "s"


def discovery(path: str) -> Object:
    """Return what the server has at `/api`, `/apis`, or in one group and version."""
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        versions = [{"groupVersion": name, "version": name.partition("/")[2]} for name in RESOURCES if "/" in name]
        groups = [
            {"name": v["groupVersion"].partition("/")[0], "versions": [v], "preferredVersion": v} for v in versions
        ]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    version = path.removeprefix("/apis/").removeprefix("/api/")
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
    resources = [
        {
            "name": plural_of(k),
            "singularName": k.lower(),
            "kind": k,
            "namespaced": k not in CLUSTER_WIDE,
            "verbs": verbs,
        }
        | ({"shortNames": ["crd"]} if k == "CustomResourceDefinition" else {})
        for k in RESOURCES.get(version, [])
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}


def merged(there: Object, patch: Object) -> Object:
    """Return an object with a JSON merge patch (RFC 7386) applied."""
    result = dict(there)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key) or {}, value) if isinstance(value, dict) else value
    return result


def _field(item: Object, path: str, wanted: str) -> bool:
    """Whether the field at this path, such as `involvedObject.name`, has the wanted value."""
    for key in path.split("."):
        item = item.get(key, {})
    return item == wanted  # type: ignore[comparison-overlap] # the last is a string


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: ApiServer

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        state, address = self.server_state, urlsplit(self.path)
        state.requests.append(f"{self.command} {self.path}")
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "null")
        trouble = next(
            (t for t in state.troubles if t.times and t.method == self.command and t.part in self.path), None
        )
        if trouble is not None:
            trouble.times -= 1
            if trouble.afterwards:
                self._handle(address.path, {}, body)
            if trouble.status is None:
                self.close_connection = True
                self.connection.close()
                return
            self._send(trouble.status, trouble.answer)
            return
        query = {key: values[-1] for key, values in parse_qs(address.query).items()}
        if "sendInitialEvents" in query:  # as servers do that do not know it; kubectl lists instead
            self._send(422, refusal(422, "Invalid", "sendInitialEvents is forbidden"))
        elif "watch" in query:
            with suppress(ConnectionError):  # clients end watches when they have seen enough
                self._watch(query)
        elif address.path.endswith("/log"):
            self._log(address.path.split("/")[-2], follow=query.get("follow") == "true")
        elif re.fullmatch(r"/apis?|/api/v1|/apis/[^/]+/[^/]+", address.path):
            self._send(200, discovery(address.path))
        else:
            self._send(*self._handle(address.path, query, body))

    def _handle(self, path: str, query: dict[str, str], body: Object) -> tuple[int, Object | str]:
        state, found = self.server_state, _PATH.match(path)
        if not found or (found["plural"] == "rayjobs" and not state.knows_rayjobs):
            return 404, "404 page not found\n"
        namespace, plural, name = found["namespace"] or "", found["plural"], found["name"]
        if self.command == "GET" and name is None:
            return 200, self._list(plural, namespace, query)  # without an error, also if there is no such namespace
        if namespace and ("namespaces", "", namespace) not in state.objects:
            return 404, refusal(404, "NotFound", f'namespaces "{namespace}" not found', kind="namespaces")
        key = plural, namespace, name or (body or {}).get("metadata", {}).get("name", "")
        if self.command == "POST":
            return self._create(key, body)
        if key not in state.objects:
            return 404, refusal(404, "NotFound", f'{plural} "{name}" not found', kind=plural, name=name)
        return self._change(key, body)

    def _change(self, key: tuple[str, str, str], body: Object) -> tuple[int, Object]:
        """Handle a request about an object that exists."""
        state, (plural, _, name) = self.server_state, key
        there = state.objects[key]
        match self.command:
            case "DELETE":
                state.delete(key)
                return 200, refusal(200, "", "") | {"status": "Success"}
            case "PUT" if body["metadata"].get("resourceVersion") != there["metadata"]["resourceVersion"]:
                return 409, refusal(409, "Conflict", f'{plural} "{name}": the object has been modified')
            case "PUT":
                state.put(plural, body)
            case "PATCH":
                state.put(plural, merged(there, body))
                state.finalize(key)
                return 200, state.objects.get(key, there)
        return 200, state.objects[key]

    def _create(self, key: tuple[str, str, str], body: Object) -> tuple[int, Object]:
        state, (plural, namespace, name) = self.server_state, key
        if key in state.objects:
            return 409, refusal(409, "AlreadyExists", f'{plural} "{name}" already exists', kind=plural, name=name)
        body["metadata"] |= {"uid": f"uid-{name}"} | ({"namespace": namespace} if namespace else {})
        made = state.put(plural, {**body, **(ACTIVE if plural == "namespaces" else {})}, "ADDED")
        if plural in {"rayjobs", "rayservices"} and state.on_create is not None:
            threading.Thread(target=state.on_create, args=(made,), daemon=True).start()
        return 201, made

    def _list(self, plural: str, namespace: str, query: dict[str, str]) -> Object:
        label, _, value = query.get("labelSelector", "").partition("=")
        items = [
            item
            for (kind, place, _), item in self.server_state.objects.items()
            if (kind, place) == (plural, namespace)
            and (not label or item["metadata"].get("labels", {}).get(label) == value)
            and all(_field(item, *field.split("=")) for field in query.get("fieldSelector", "").split(",") if field)
        ]
        version = {"resourceVersion": str(self.server_state.version)}
        group, kind = next(((g, k) for g, kinds in RESOURCES.items() for k in kinds if plural_of(k) == plural))
        return {"apiVersion": group, "kind": f"{kind}List", "metadata": version, "items": items}

    def _watch(self, query: dict[str, str]) -> None:
        found, state, seen = _PATH.match(urlsplit(self.path).path), self.server_state, int(query["resourceVersion"])
        wanted, mine = query["fieldSelector"].partition("=")[2], state.watches
        ends = time.monotonic() + float(query.get("timeoutSeconds", 300))
        self._begin()
        if seen < state.oldest:
            gone = refusal(410, "Expired", f"too old resource version: {seen}")
            self._chunk(json.dumps({"type": "ERROR", "object": gone}) + "\n")
        while seen >= state.oldest and state.watches == mine and time.monotonic() < ends:
            with state.changed:
                new = [event for event in state.events if event[0] > seen]
                if not new:
                    state.changed.wait(0.05)
            seen = max([seen, *(event[0] for event in new)])
            for _, plural, kind, item in new:
                if found and plural == found["plural"] and item["metadata"]["name"] == wanted:
                    self._chunk(json.dumps({"type": kind, "object": item}) + "\n")
        self._chunk("")

    def _log(self, pod: str, *, follow: bool) -> None:
        state = self.server_state
        self._begin()
        sent = 0
        while True:
            with state.changed:
                lines, ended = state.logs[pod].lines[sent:], state.logs[pod].ended
                if not lines and follow and not ended:
                    state.changed.wait(0.05)
            for line in lines:
                self._chunk(line + "\n")
            sent += len(lines)
            if not follow or (ended and not lines):
                break
        self._chunk("")

    def _begin(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _chunk(self, text: str) -> None:
        content = text.encode()
        self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
        self.wfile.flush()

    def _send(self, status: int, answer: Object | str) -> None:
        content = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
