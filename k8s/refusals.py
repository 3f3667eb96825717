"""What a Kubernetes API server refuses, in words that say what to do."""

import json
from http import HTTPStatus
from typing import Any

from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from urllib3.exceptions import HTTPError

from rayreel.errors import RayreelError

# What asking a cluster can raise; `explained` has words for each of them.
TROUBLE = (ApiException, ConfigException, HTTPError)


class NoCluster(RayreelError):
    """No API server is known, or none answers."""


class NoKubeRay(RayreelError):
    """The cluster does not know RayJobs."""


class NoNamespace(RayreelError):
    """The namespace is not there."""


class NotAllowed(RayreelError):
    """These credentials may not do this, or are none."""


class QuotaExceeded(RayreelError):
    """The namespace's quota has no room."""


class NameTaken(RayreelError):
    """There is a job of this name."""


class NoSuchJob(RayreelError):
    """There is no job of this name."""


class Invalid(RayreelError):
    """The API server or the operator does not accept the RayJob."""


class Lost(RayreelError):
    """The API server stays away while a job is followed; the job goes on."""


def passes(error: Exception) -> bool:
    """Whether the same call may succeed a moment later: connections, overload, restarts, an expired watch."""
    if isinstance(error, ApiException):
        return error.status in {0, HTTPStatus.GONE, HTTPStatus.TOO_MANY_REQUESTS} or error.status >= 500
    return isinstance(error, HTTPError)


def explained(error: Exception, *, doing: str, namespace: str) -> RayreelError:
    """The error for a person. `doing` completes `may not …`, such as `create RayJobs`."""
    if isinstance(error, ConfigException):
        return NoCluster(f"{error} Give --kubeconfig and --context, set KUBECONFIG, or run this in a pod.")
    if not isinstance(error, ApiException):
        return NoCluster(
            f"The API server does not answer: {_cause(error)}. Is the cluster up, and is --context the right one?"
        )
    return _refused(error, said(error), doing, namespace)


def said(error: ApiException) -> str:
    """The message of the API server's answer."""
    message = _answer(error).get("message") or (error.body or error.reason or "").strip()
    return str(message) or f"status {error.status}"


def _refused(error: ApiException, message: str, doing: str, namespace: str) -> RayreelError:
    match error.status:
        case HTTPStatus.NOT_FOUND:
            return _missing(_answer(error), message, namespace)
        case HTTPStatus.FORBIDDEN | HTTPStatus.UNAUTHORIZED:
            return _forbidden(error, message, doing, namespace)
        case HTTPStatus.CONFLICT:
            return NameTaken(f"{message}. Give another --name, or stop that job.")
        case HTTPStatus.BAD_REQUEST | HTTPStatus.UNPROCESSABLE_ENTITY:
            return Invalid(f"{message}. Look into the overlay with: kubectl kustomize k8s/overlays/NAME/jobs")
    return NoCluster(f"The API server answers {error.status}: {message}. Try again.")


def _missing(answer: dict[str, Any], message: str, namespace: str) -> RayreelError:
    if not answer:  # plain text: the path itself is unknown
        return NoKubeRay(
            "The cluster knows no RayJob. Install KubeRay 1.6 or newer: k8s/README.md, `What the cluster needs`."
        )
    if answer.get("details", {}).get("kind") == "namespaces":
        return NoNamespace(f"{message}. kubectl apply -k k8s/overlays/NAME makes it, or give another --namespace.")
    return NoSuchJob(f"{message}. `python k8s/submit.py list` shows what there is in {namespace}.")


def _forbidden(error: ApiException, message: str, doing: str, namespace: str) -> RayreelError:
    if error.status == HTTPStatus.UNAUTHORIZED:
        return NotAllowed(f"{message}: the credentials are not valid (any more). Log in to the cluster again.")
    if "exceeded quota" in message:
        return QuotaExceeded(f"{message}. Wait, stop a job (python k8s/submit.py stop NAME) or raise the quota.")
    return NotAllowed(
        f"You may not {doing} in {namespace}: {message}. An administrator grants it with: "
        f"kubectl -n {namespace} create rolebinding NAME --role=rayreel-submit --user=YOU"
    )


def _answer(error: ApiException) -> dict[str, Any]:
    try:
        answer = json.loads(error.body or "")
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _cause(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error)
