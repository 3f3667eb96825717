"""RayJobs of one namespace over the Kubernetes API: create, watch, read logs, delete."""

import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, TypeVar

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.watch import Watch
from urllib3.util import Retry

from refusals import PUBLISHING, TROUBLE, Lost, NoSuchJob, NotAllowed, explained, is_temporary, message_of
from rendering import Manifest
from waiting import causes

logger = logging.getLogger(__name__)
T = TypeVar("T")
KIND = ("ray.io", "v1")
PLURAL = "rayjobs"
NAMESPACE = "rayreel"
SUBMISSION = "rayreel.io/submission"
ENDED = {"Complete", "Failed", "ValidationFailed"}
# Reason of a job whose nodes did not start within preRunningDeadlineSeconds.
TOO_LATE = "PreRunningDeadlineExceeded"
# Duration of one watch request. The server ends it then, and a new one is sent.
WATCH_S = 240
# The same while a job waits for nodes, because the causes are in other objects.
WAITING_WATCH_S = 10
# A server that has never responded is more likely the wrong one than restarting.
FIRST_RESPONSE_S = 5
# Attempts to read the log of an ended job.
LAST_TRIES = 5


class _LogUnavailable(Exception):
    """A log cannot be read at this moment."""


@dataclass(frozen=True, slots=True)
class RayJobState:
    """The state of a RayJob."""

    name: str
    job: str
    deployment: str
    status: str
    reason: str
    message: str
    cluster: str
    created: str
    failures: int
    waiting: str = ""

    @classmethod
    def of(cls, manifest: Manifest) -> "RayJobState":
        """Return the state of a RayJob object of the API server."""
        metadata, status = manifest["metadata"], manifest.get("status") or {}
        return cls(
            name=metadata["name"],
            job=metadata.get("labels", {}).get("rayreel.io/job", ""),
            deployment=status.get("jobDeploymentStatus", "") or "New",
            status=status.get("jobStatus", ""),
            reason=status.get("reason", ""),
            message=status.get("message", ""),
            cluster=status.get("rayClusterName", ""),
            created=metadata.get("creationTimestamp", ""),
            failures=status.get("failed") or 0,
        )

    @property
    def ended(self) -> bool:
        """Whether the job has ended."""
        return self.deployment in ENDED

    @property
    def succeeded(self) -> bool:
        """Whether the job has ended with success."""
        return self.ended and self.status == "SUCCEEDED"

    @property
    def prepares(self) -> bool:
        """Whether the job's Ray cluster is being created."""
        return self.deployment in {"New", "Initializing"} and bool(self.cluster)

    def line(self) -> str:
        """Return the state in one line."""
        # The attempt that ended the job with a failure is among the failures.
        attempt = self.failures + (not self.ended or self.succeeded)
        words = [self.deployment, self.status, self.reason, f"attempt {attempt}" if self.failures else "", self.waiting]
        return " · ".join(filter(None, words))


class RayJobs:
    """The RayJobs of a namespace. Every call raises a RayreelError with a remedy.

    Idempotent calls are retried for `patience_s` seconds, because API servers are restarted while jobs run for days.
    """

    def __init__(self, api: client.ApiClient, namespace: str, patience_s: float = 300, pause_s: float = 2) -> None:
        self._jobs, self._core = client.CustomObjectsApi(api), client.CoreV1Api(api)
        self.namespace, self._patience_s, self._pause_s = namespace, patience_s, pause_s
        self._responded = False

    def create(self, manifest: Manifest) -> RayJobState:
        """Create the job. A retry after a lost response never creates a second job."""
        submission = uuid.uuid4().hex
        manifest["metadata"].setdefault("annotations", {})[SUBMISSION] = submission
        manifest["metadata"]["namespace"] = self.namespace

        def create() -> Any:  # noqa: ANN401
            try:
                made: Any = self._jobs.create_namespaced_custom_object(*KIND, self.namespace, PLURAL, manifest)
            except ApiException as error:
                if error.status != HTTPStatus.CONFLICT:
                    raise
                there = self._get(manifest["metadata"]["name"])
                if there["metadata"].get("annotations", {}).get(SUBMISSION) != submission:
                    raise
                return there
            return made

        return RayJobState.of(self._call(create, "create RayJobs"))

    def state(self, name: str) -> RayJobState:
        """Return the current state of the job, with the causes if it waits for nodes."""
        state = RayJobState.of(self._call(lambda: self._get(name), "get RayJobs"))
        return replace(state, waiting=self._waiting(state))

    def all(self) -> list[RayJobState]:
        """Return the states of all jobs, newest first."""
        found: Any = self._call(
            lambda: self._jobs.list_namespaced_custom_object(*KIND, self.namespace, PLURAL), "list RayJobs"
        )
        if not found["items"]:
            self._check_namespace()
        return sorted(map(RayJobState.of, found["items"]), key=lambda state: state.created, reverse=True)

    def _check_namespace(self) -> None:
        """Raise NoNamespace if the namespace does not exist: the server lists nothing in it, without an error."""
        try:
            self._call(lambda: self._core.read_namespace(self.namespace), "get namespaces")
        except NotAllowed:
            # Without this permission, an empty list is all that can be known.
            logger.debug("namespace %s cannot be read", self.namespace)

    def delete(self, name: str) -> None:
        """Delete the job; the operator stops it and deletes its cluster. A retry after a lost response is no error."""

        def delete() -> None:
            try:
                self._jobs.delete_namespaced_custom_object(
                    *KIND, self.namespace, PLURAL, name, propagation_policy="Background"
                )
            except ApiException as error:
                # The first response was lost, or the job was deleted by another client meanwhile.
                if error.status != HTTPStatus.NOT_FOUND or not tried_before:
                    raise
            finally:
                tried_before.append(True)

        tried_before: list[bool] = []
        self._call(delete, "delete RayJobs")

    def states(self, name: str) -> Iterator[RayJobState]:
        """Yield the job's states as they change, up to the last one, also after disconnects."""
        before, waiting = None, ""
        while True:
            manifest = self._call(lambda: self._get(name), "get RayJobs")
            for state in self._watch(manifest, before):
                before = state
                yield replace(state, waiting=waiting) if state.prepares or state.reason == TOO_LATE else state
                if state.ended:
                    return
            if before and (cause := self._waiting(before)) and cause != waiting:
                waiting = cause
                yield replace(before, waiting=waiting)

    def _waiting(self, state: RayJobState) -> str:
        """Return why a job waits for nodes, or nothing."""
        if not state.prepares:
            return ""
        try:
            found = self._call(
                lambda: causes(self._core, self.namespace, state.name, state.cluster), "list pods and events"
            )
        except NotAllowed as error:
            return f"the causes cannot be read: {error}"
        return "; ".join(found)

    def _watch(self, manifest: Manifest, before: RayJobState | None) -> Iterator[RayJobState]:
        """Yield the changes that one watch request reports after this manifest."""
        if (state := RayJobState.of(manifest)) != before:
            yield state
        name, watch_s = state.name, WAITING_WATCH_S if state.prepares else WATCH_S
        try:
            watch: Any = Watch  # untyped in the library
            for event in watch().stream(
                self._jobs.list_namespaced_custom_object,
                *KIND,
                self.namespace,
                PLURAL,
                field_selector=f"metadata.name={name}",
                resource_version=manifest["metadata"]["resourceVersion"],
                timeout_seconds=watch_s,
                _request_timeout=watch_s + 30,
            ):
                if event["type"] == "DELETED":
                    raise NoSuchJob(f"{name} was deleted while it was followed.")
                if (now := RayJobState.of(event["object"])) != state:
                    state = now
                    yield now
        except TROUBLE as error:
            if not is_temporary(error):
                raise explained(error, doing="watch RayJobs", namespace=self.namespace) from error
            time.sleep(self._pause_s)

    def log(self, name: str, *, follow: bool = False) -> Iterator[str]:
        """Yield the lines of the driver's output, each once. With `follow`, up to the job's end."""
        last, tries = "", LAST_TRIES
        while tries:
            ended = self.state(name).ended
            try:
                for stamp, line in self._log_once(name, follow=follow and not ended):
                    if stamp > last:
                        last = stamp
                        yield line
                tries = 0 if ended or not follow else tries
            except _LogUnavailable:
                tries -= ended or not follow
            if tries:
                time.sleep(self._pause_s)

    def _log_once(self, name: str, *, follow: bool) -> Iterator[tuple[str, str]]:
        """Yield (RFC 3339 time stamp, line) of the submitter's newest pod, which prints the driver's output."""
        pod = self._submitter(name)
        if pod is None:
            return
        try:
            # Without preloading it is urllib3's response, unlike the generated types.
            response: Any = self._core.read_namespaced_pod_log(
                pod, self.namespace, follow=follow, timestamps=True, _preload_content=False
            )
            with response:
                for text in _lines(response):
                    stamp, _, line = text.partition(" ")
                    yield stamp, line
        except TROUBLE as error:
            # 400: the container has not started yet. 404: a retry has deleted the pod.
            if is_temporary(error) or (isinstance(error, ApiException) and error.status in {400, 404}):
                raise _LogUnavailable from error
            raise explained(error, doing="get pods/log", namespace=self.namespace) from error

    def _submitter(self, name: str) -> str | None:
        selector = f"batch.kubernetes.io/job-name={name}"
        pods: Any = self._call(
            lambda: self._core.list_namespaced_pod(self.namespace, label_selector=selector), "list pods"
        )
        newest = sorted(pods.items, key=lambda pod: pod.metadata.creation_timestamp)
        return str(newest[-1].metadata.name) if newest else None

    def publish(self, name: str, files: dict[str, str]) -> None:
        """Write a ConfigMap. A concurrent change by another client is overwritten."""
        body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, namespace=self.namespace), data=files)

        def write() -> None:
            try:
                there: Any = self._core.read_namespaced_config_map(name, self.namespace)
                there.data = files
                self._core.replace_namespaced_config_map(name, self.namespace, there)
            except ApiException as error:
                if error.status == HTTPStatus.CONFLICT:
                    raise ApiException(status=HTTPStatus.SERVICE_UNAVAILABLE, reason=message_of(error)) from error
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
                self._core.create_namespaced_config_map(self.namespace, body)

        self._call(write, PUBLISHING)

    def _get(self, name: str) -> Manifest:
        found: Any = self._jobs.get_namespaced_custom_object(*KIND, self.namespace, PLURAL, name)
        return dict(found)

    def _call(self, call: Callable[[], T], doing: str) -> T:
        """Make a call, and retry it after temporary errors."""
        began = time.monotonic()
        while True:
            try:
                result = call()
            except TROUBLE as error:
                self._responded = self._responded or isinstance(error, ApiException)
                patience_s = self._patience_s if self._responded else min(FIRST_RESPONSE_S, self._patience_s)
                if not is_temporary(error) or (not self._responded and time.monotonic() - began > patience_s):
                    raise explained(error, doing=doing, namespace=self.namespace) from error
                if time.monotonic() - began > patience_s:
                    cause = message_of(error) if isinstance(error, ApiException) else str(error)
                    raise Lost(
                        f"The API server has not recovered in {patience_s:.0f} s: {cause}. "
                        "Jobs in the cluster continue. Try again later; k8s/submit.py logs NAME --follow resumes a job."
                    ) from error
                time.sleep(self._pause_s)
            else:
                self._responded = True
                return result


def connect(kubeconfig: str | None, context: str | None, namespace: str | None, patience_s: float = 300) -> RayJobs:
    """Connect to the cluster of a kubeconfig and context, or that of this pod. Raises NoApiServer."""
    place = namespace or NAMESPACE
    try:
        settings = client.Configuration()
        config.load_config(  # type: ignore[no-untyped-call] # the library has no annotations
            # The library reads the variable only once, at import.
            config_file=kubeconfig or os.environ.get("KUBECONFIG"),
            context=context,
            client_configuration=settings,
        )
    except TROUBLE as error:
        raise explained(error, doing="connect", namespace=place) from error
    # `_call` retries, for calls that are idempotent.
    settings.retries = Retry(total=0, redirect=3)
    return RayJobs(client.ApiClient(settings), place, patience_s)


def _lines(response: Any) -> Iterator[str]:  # noqa: ANN401 - an urllib3 response
    rest = b""
    for chunk in response.stream(amt=None, decode_content=False):
        *complete, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in complete)
    if rest:
        yield rest.decode(errors="replace")
