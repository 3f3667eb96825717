"""Ray's addresses and options that have no public function."""

import os
from typing import Any

from rayreel.compat.ray_startup import NETWORKED

# For RAY_START_HOOK.
START_HOOK = f"{__name__}.without_client_server"


def stay_on_loopback() -> None:
    """Make Ray use 127.0.0.1 as this machine's address, in this process and its children.

    Ray 2.60 reads the variable only when it is imported, and replaces 127.0.0.1 with the machine's network address even
    in `ray.init(address="127.0.0.1:6379")`. Can go, with `NETWORKED`, once a cluster can listen on loopback only.
    """
    from ray._private import ray_constants

    os.environ[NETWORKED] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False


def without_client_server(params: Any, head: bool) -> None:  # noqa: ANN401 - Ray's, called by `ray start`
    """RAY_START_HOOK that starts no Ray Client server, which rayreel does not use.

    Can go once `ray start` has an option for it: without a port for this server, Ray 2.60 takes 10001.
    """
    params.ray_client_server_port = None
    os.environ.pop("RAY_START_HOOK", None)


def job_server_url() -> str:
    """Return the URL of the job server of the cluster that this process has joined.

    Can go once `JobSubmissionClient(address)` uses the address that it is given: Ray 2.60 prefers RAY_ADDRESS.
    """
    import ray
    from ray.dashboard.utils import ray_address_to_api_server_url

    url: str = ray_address_to_api_server_url(ray.get_runtime_context().gcs_address)
    return url


def in_submitted_job() -> bool:
    """Whether this process is a job of `ray job submit`. Ray has no public function for it."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
