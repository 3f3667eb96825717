"""RayJobs of one namespace over the Kubernetes API: create, watch, read logs, delete."""

import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.watch import Watch
from refusals import TROUBLE, Lost, NoSuchJob, explained, passes, said
from rendering import Manifest
from urllib3.util import Retry

T = TypeVar("T")
KIND = ("ray.io", "v1")
PLURAL = "rayjobs"
NAMESPACE = "rayreel"
SUBMISSION = "rayreel.io/submission"
ENDED = {"Complete", "Failed", "ValidationFailed"}
# One request of a watch; the server ends it then, and it is asked again.
WATCH_S = 240
# A server that has never answered is more likely the wrong one than one that restarts.
FIRST_ANSWER_S = 5
# How often the log of a job that has ended is asked for before it is given up.
LAST_TRIES = 5


class _NotNow(Exception):
    """A log that cannot be read at this moment."""


@dataclass(frozen=True, slots=True)
class State:
    """What is known of a RayJob."""

    name: str
    job: str
    deployment: str
    status: str
    reason: str
    message: str
    cluster: str
    created: str
    failures: int

    @classmethod
    def of(cls, manifest: Manifest) -> "State":
        """Read a RayJob as the API server has it."""
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
        """Whether nothing more will come of it."""
        return self.deployment in ENDED

    @property
    def succeeded(self) -> bool:
        """Whether it ended well."""
        return self.ended and self.status == "SUCCEEDED"

    def line(self) -> str:
        """In one line."""
        told = [self.deployment, *(text for text in (self.status, self.reason) if text)]
        return " · ".join([*told, *([f"attempt {self.failures + 1}"] if self.failures else [])])


class RayJobs:
    """The RayJobs of a namespace. Every call raises a RayreelError in a user's words.

    Calls that may be repeated are, for `patience_s` seconds: API servers are restarted while jobs run for days.
    """

    def __init__(self, api: client.ApiClient, namespace: str, patience_s: float = 300, pause_s: float = 2) -> None:
        self._jobs, self._core = client.CustomObjectsApi(api), client.CoreV1Api(api)
        self.namespace, self._patience_s, self._pause_s = namespace, patience_s, pause_s
        self._answered = False

    def create(self, manifest: Manifest) -> State:
        """Create the job. A lost answer is asked again, and never makes a second job."""
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

        return State.of(self._asked(create, "create RayJobs"))

    def state(self, name: str) -> State:
        """The job as it is now."""
        return State.of(self._asked(lambda: self._get(name), "get RayJobs"))

    def all(self) -> list[State]:
        """All jobs, the newest first."""
        found: Any = self._asked(
            lambda: self._jobs.list_namespaced_custom_object(*KIND, self.namespace, PLURAL), "list RayJobs"
        )
        return sorted(map(State.of, found["items"]), key=lambda state: state.created, reverse=True)

    def delete(self, name: str) -> None:
        """Stop the job and delete its cluster; the operator ends what runs. Deleting it twice is no error."""

        def delete() -> None:
            try:
                self._jobs.delete_namespaced_custom_object(
                    *KIND, self.namespace, PLURAL, name, propagation_policy="Background"
                )
            except ApiException as error:
                # The first answer was lost, or somebody else was faster.
                if error.status != HTTPStatus.NOT_FOUND or not asked_before:
                    raise
            finally:
                asked_before.append(True)

        asked_before: list[bool] = []
        self._asked(delete, "delete RayJobs")

    def states(self, name: str) -> Iterator[State]:
        """The job's states as they change, to the last one; however often the watch breaks off in between."""
        before = None
        while True:
            manifest = self._asked(lambda: self._get(name), "get RayJobs")
            for state in self._seen(manifest, before):
                before = state
                yield state
                if state.ended:
                    return

    def _seen(self, manifest: Manifest, before: State | None) -> Iterator[State]:
        """What one watch sees from this manifest on; it ends when the watch does."""
        if (state := State.of(manifest)) != before:
            yield state
        name = state.name
        try:
            watch: Any = Watch  # the library leaves it without types
            for event in watch().stream(
                self._jobs.list_namespaced_custom_object,
                *KIND,
                self.namespace,
                PLURAL,
                field_selector=f"metadata.name={name}",
                resource_version=manifest["metadata"]["resourceVersion"],
                timeout_seconds=WATCH_S,
                _request_timeout=WATCH_S + 30,
            ):
                if event["type"] == "DELETED":
                    raise NoSuchJob(f"{name} was deleted while it was followed.")
                if (now := State.of(event["object"])) != state:
                    state = now
                    yield now
        except TROUBLE as error:
            if not passes(error):
                raise explained(error, doing="watch RayJobs", namespace=self.namespace) from error
            time.sleep(self._pause_s)

    def log(self, name: str, *, follow: bool = False) -> Iterator[str]:
        """Lines of the driver's output. With `follow` to the job's end, through restarts, none twice."""
        last, tries = "", LAST_TRIES
        while tries:
            ended = self.state(name).ended
            try:
                for stamp, line in self._log_once(name, follow=follow and not ended):
                    if stamp > last:
                        last = stamp
                        yield line
                tries = 0 if ended or not follow else tries
            except _NotNow:
                tries -= ended or not follow
            if tries:
                time.sleep(self._pause_s)

    def _log_once(self, name: str, *, follow: bool) -> Iterator[tuple[str, str]]:
        """(RFC 3339 time stamp, line) of the submitter's newest pod, which prints what the driver prints."""
        pod = self._submitter(name)
        if pod is None:
            return
        try:
            # Not preloaded, it is urllib3's response, whatever the generated types say.
            answer: Any = self._core.read_namespaced_pod_log(
                pod, self.namespace, follow=follow, timestamps=True, _preload_content=False
            )
            with answer:
                for text in _lines(answer):
                    stamp, _, line = text.partition(" ")
                    yield stamp, line
        except TROUBLE as error:
            # 400: the container has not started yet. 404: a retry has deleted the pod.
            if passes(error) or (isinstance(error, ApiException) and error.status in {400, 404}):
                raise _NotNow from error
            raise explained(error, doing="get pods/log", namespace=self.namespace) from error

    def _submitter(self, name: str) -> str | None:
        selector = f"batch.kubernetes.io/job-name={name}"
        answer: Any = self._asked(
            lambda: self._core.list_namespaced_pod(self.namespace, label_selector=selector), "list pods"
        )
        newest = sorted(answer.items, key=lambda pod: pod.metadata.creation_timestamp)
        return str(newest[-1].metadata.name) if newest else None

    def publish(self, name: str, files: dict[str, str]) -> None:
        """Write a ConfigMap; somebody else's change at the same moment is read first and then replaced."""
        body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, namespace=self.namespace), data=files)

        def write() -> None:
            try:
                there: Any = self._core.read_namespaced_config_map(name, self.namespace)
                there.data = files
                self._core.replace_namespaced_config_map(name, self.namespace, there)
            except ApiException as error:
                if error.status == HTTPStatus.CONFLICT:
                    raise ApiException(status=HTTPStatus.SERVICE_UNAVAILABLE, reason=said(error)) from error
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
                self._core.create_namespaced_config_map(self.namespace, body)

        self._asked(write, "write ConfigMaps")

    def _get(self, name: str) -> Manifest:
        found: Any = self._jobs.get_namespaced_custom_object(*KIND, self.namespace, PLURAL, name)
        return dict(found)

    def _asked(self, call: Callable[[], T], doing: str) -> T:
        """Call, again and again while what stands in the way may pass."""
        began = time.monotonic()
        while True:
            try:
                answer = call()
            except TROUBLE as error:
                self._answered = self._answered or isinstance(error, ApiException)
                patience_s = self._patience_s if self._answered else min(FIRST_ANSWER_S, self._patience_s)
                if not passes(error) or (not self._answered and time.monotonic() - began > patience_s):
                    raise explained(error, doing=doing, namespace=self.namespace) from error
                if time.monotonic() - began > patience_s:
                    told = said(error) if isinstance(error, ApiException) else str(error)
                    raise Lost(f"The API server has not recovered in {patience_s:.0f} s: {told}.") from error
                time.sleep(self._pause_s)
            else:
                self._answered = True
                return answer


def connect(kubeconfig: str | None, context: str | None, namespace: str | None, patience_s: float = 300) -> RayJobs:
    """The cluster of a kubeconfig and context, or the one that this pod runs in. Raises NoCluster."""
    place = namespace or NAMESPACE
    try:
        settings = client.Configuration()
        config.load_config(  # type: ignore[no-untyped-call]
            # The library reads the variable once, when it is imported.
            config_file=kubeconfig or os.environ.get("KUBECONFIG"),
            context=context,
            client_configuration=settings,
        )
    except TROUBLE as error:
        raise explained(error, doing="connect", namespace=place) from error
    # Repeats are decided here, where it is known what may be repeated.
    settings.retries = Retry(total=0, redirect=3)
    return RayJobs(client.ApiClient(settings), place, patience_s)


def _lines(answer: Any) -> Iterator[str]:  # noqa: ANN401 - an urllib3 response
    rest = b""
    for chunk in answer.stream(amt=None, decode_content=False):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in whole)
    if rest:
        yield rest.decode(errors="replace")
