"""Errors of a Kubernetes API server, converted to errors with a remedy."""

import json
from http import HTTPStatus
from typing import Any

from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from urllib3.exceptions import HTTPError

from rayreel.errors import RayreelError

# What `submit.py publish` does; it has a role of its own, because it decides what the schedule runs.
PUBLISHING = "write ConfigMaps"
# Exceptions of the Kubernetes client; `explained` converts each of them.
TROUBLE = (ApiException, ConfigException, HTTPError)


class NoApiServer(RayreelError):
    """No API server is configured, or it does not respond."""


class NoKubeRay(RayreelError):
    """The cluster has no RayJobs."""


class NoNamespace(RayreelError):
    """The namespace does not exist."""


class NotAllowed(RayreelError):
    """The credentials are missing, invalid or insufficient."""


class QuotaExceeded(RayreelError):
    """The namespace's quota is exceeded."""


class NameTaken(RayreelError):
    """A job with this name exists already."""


class NoSuchJob(RayreelError):
    """There is no job with this name."""


class Invalid(RayreelError):
    """The API server or the operator does not accept the RayJob."""


class Lost(RayreelError):
    """The API server has stopped responding while a job is followed. The job continues."""


def is_temporary(error: Exception) -> bool:
    """Whether a retry may succeed: after lost connections, overload, restarts or an expired watch."""
    if isinstance(error, ApiException):
        return error.status in {0, HTTPStatus.GONE, HTTPStatus.TOO_MANY_REQUESTS} or error.status >= 500
    return isinstance(error, HTTPError)


def explained(error: Exception, *, doing: str, namespace: str) -> RayreelError:
    """Return the error to raise. `doing` completes `may not …`, such as `create RayJobs`."""
    if isinstance(error, ConfigException):
        return NoApiServer(f"{error} Pass --kubeconfig and --context, set KUBECONFIG, or run this in a pod.")
    if not isinstance(error, ApiException):
        return NoApiServer(
            f"The API server does not respond: {_cause(error)}. Check that the cluster is up and --context is right."
        )
    return _refused(error, message_of(error), doing, namespace)


def message_of(error: ApiException) -> str:
    """Return the message of the API server's response."""
    message = _body(error).get("message") or (error.body or error.reason or "").strip()
    return str(message) or f"status {error.status}"


def _refused(error: ApiException, message: str, doing: str, namespace: str) -> RayreelError:
    match error.status:
        case HTTPStatus.NOT_FOUND:
            return _missing(_body(error), message, namespace)
        case HTTPStatus.FORBIDDEN | HTTPStatus.UNAUTHORIZED:
            return _forbidden(error, message, doing, namespace)
        case HTTPStatus.CONFLICT:
            return NameTaken(f"{message}. Pass another --name, or stop that job.")
        case HTTPStatus.BAD_REQUEST | HTTPStatus.UNPROCESSABLE_ENTITY:
            return Invalid(f"{message}. Inspect the overlay with: kubectl kustomize k8s/overlays/NAME/jobs")
    return NoApiServer(f"The API server responded {error.status}: {message}. Try again.")


def _missing(body: dict[str, Any], message: str, namespace: str) -> RayreelError:
    if not body:  # plain text: the path itself is unknown
        return NoKubeRay(
            "The cluster has no RayJobs. Install KubeRay 1.6 or newer: k8s/README.md, `What the cluster needs`."
        )
    if body.get("details", {}).get("kind") == "namespaces":
        return NoNamespace(
            f"{message}. Create it with kubectl apply -k k8s/overlays/NAME, or pass another --namespace."
        )
    return NoSuchJob(f"{message}. `python k8s/submit.py list` shows the jobs of {namespace}.")


def _forbidden(error: ApiException, message: str, doing: str, namespace: str) -> RayreelError:
    if error.status == HTTPStatus.UNAUTHORIZED:
        return NotAllowed(f"{message}: the credentials are invalid or expired. Log in to the cluster again.")
    if "exceeded quota" in message:
        return QuotaExceeded(f"{message}. Wait, stop a job (python k8s/submit.py stop NAME) or raise the quota.")
    role = "rayreel-publish" if doing == PUBLISHING else "rayreel-submit"
    return NotAllowed(
        f"You may not {doing} in {namespace}: {message}. An administrator grants it with: "
        f"kubectl -n {namespace} create rolebinding NAME --role={role} --user=YOU"
    )


def _body(error: ApiException) -> dict[str, Any]:
    try:
        body = json.loads(error.body or "")
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _cause(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error)
