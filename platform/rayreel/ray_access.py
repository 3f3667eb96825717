"""Access to a Ray cluster of this machine: it listens on loopback and requires the user's token.

Every client of a Ray cluster can run code as the cluster's user. The token is Ray's own: RAY_AUTH_TOKEN, the file that
RAY_AUTH_TOKEN_PATH names, or ~/.ray/auth_token. Ray's commands read it from the same places.
"""

import logging
import os
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from rayreel.errors import RayreelError
from rayreel.ray_startup import AUTH_MODE, NETWORKED, token_path

if TYPE_CHECKING:
    import grpc

log = logging.getLogger(__name__)

_ANSWER_S = 10


class NoToken(RayreelError):
    """There is no token for Ray, and none can be made."""


class TokenRefused(RayreelError):
    """A Ray cluster requires a token other than this user's."""


def protected() -> dict[str, str]:
    """Environment variables for `ray start`: listen on loopback, require the token. Makes a token if there is none.

    RAY_AUTH_MODE=disabled in this process's environment is respected, with a warning. Raises NoToken.
    """
    variables = {NETWORKED: "0", "RAY_START_HOOK": f"{__name__}.without_client_server"}
    # Training workers connect to each other directly, by default through the network interface.
    variables |= {name: os.environ.get(name, "lo") for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")}
    if os.environ.get(AUTH_MODE, "").lower() == "disabled":
        log.warning(
            "%s=disabled: every user of this machine can run code as you through the Ray cluster that starts now",
            AUTH_MODE,
        )
        return variables | {AUTH_MODE: "disabled"}
    make_token()
    return variables | {AUTH_MODE: "token"}


def protect() -> None:
    """Apply `protected` to this process, for a following `ray.init(address="local")`. Raises NoToken."""
    variables = protected()
    os.environ.update(variables)
    _stay_on_loopback()
    _set_mode(variables[AUTH_MODE])


def adopt(address: str) -> None:
    """Set this process's mode to that of the cluster at `address` (host:port): with the token or without.

    If the cluster does not answer, the mode stays as it is, and joining the cluster reports why. Raises TokenRefused
    if the cluster requires a token and refuses this user's.
    """
    import grpc

    if address.rpartition(":")[0] in {"127.0.0.1", "localhost"}:
        _stay_on_loopback()
    before = os.environ.get(AUTH_MODE)
    _set_mode("disabled")
    answer = _answer(address)
    if answer is grpc.StatusCode.UNAUTHENTICATED:
        _present_token(address)
    elif answer is not grpc.StatusCode.OK:
        _set_mode(before)
    elif (before or "").lower() != "disabled":
        log.warning(
            "The Ray cluster at %s requires no token: anyone who can reach its ports can run code in it. Start it "
            "with RAY_AUTH_MODE=token.",
            address,
        )


def _present_token(address: str) -> None:
    import grpc

    _set_mode("token")
    has_token = _raylet().AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True)
    if not has_token or _answer(address) is grpc.StatusCode.UNAUTHENTICATED:
        found = "holds a different one" if has_token else "does not exist"
        raise TokenRefused(
            f"The Ray cluster at {address} requires a token, and {token_file()} {found}. If it is your cluster, set "
            "RAY_AUTH_TOKEN_PATH to the file with its token. If it is another user's, set RAY_TMPDIR to a folder of "
            "your own with a short path to start your own cluster, or RAY_ADDRESS=local to run one job without a "
            "cluster."
        )


def _answer(address: str) -> "grpc.StatusCode":
    """Status of a read-only call to the cluster's control service."""
    import grpc
    from ray._private.grpc_utils import init_grpc_channel
    from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

    with init_grpc_channel(address) as channel:
        stub = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel)
        try:
            stub.GetClusterId(gcs_service_pb2.GetClusterIdRequest(), timeout=_ANSWER_S)
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()
            return code
    return grpc.StatusCode.OK


def token_file() -> Path:
    """File that Ray reads the user's token from. Raises NoToken without RAY_AUTH_TOKEN_PATH and a home folder."""
    if (path := token_path()) is None:
        raise NoToken("Ray's token is kept in the home folder, but this user has none. Set RAY_AUTH_TOKEN_PATH.")
    return Path(path)


def make_token() -> None:
    """Write a token that only the user can read, unless one exists. Raises NoToken."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return
    file = token_file()
    try:
        _write_token(file)
    except OSError as error:
        raise NoToken(
            f"{file}: {error.strerror or error}. Ray's token is kept there. Make it a file that you can read and "
            "write, or set RAY_AUTH_TOKEN_PATH to such a file."
        ) from error
    _reload_token()


def _write_token(file: Path) -> None:
    if _has_content(file):
        # `ray get-auth-token --generate` makes a file that every user can read.
        if file.stat().st_uid == os.getuid() and file.stat().st_mode & 0o077:
            file.chmod(0o600)
        return
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(file.with_name(f".{file.name}.lock")):
        if not _has_content(file):
            handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # mode 600
            with os.fdopen(handle, "w") as out:
                out.write(secrets.token_hex(32))
            Path(temporary).replace(file)


def _has_content(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0


def _reload_token() -> None:
    """Clear Ray's cache of the token, which also remembers that there was none."""
    _raylet().AuthenticationTokenLoader.instance().reset_cache()


def _set_mode(mode: str | None) -> None:
    """Set the mode of this process and its children. Ray reads the variable only when it is imported."""
    if mode is None:
        os.environ.pop(AUTH_MODE, None)
    else:
        os.environ[AUTH_MODE] = mode
    _raylet().Config.initialize("")


def _raylet() -> Any:  # noqa: ANN401 - Ray's compiled part has no types
    from ray import _raylet

    return _raylet


def _stay_on_loopback() -> None:
    """Make Ray use 127.0.0.1 as this machine's address, in this process and its children."""
    from ray._private import ray_constants

    os.environ[NETWORKED] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False  # Ray reads the variable only when it is imported


def without_client_server(params: Any, head: bool) -> None:  # noqa: ANN401 - Ray's, called by `ray start`
    """RAY_START_HOOK that starts no Ray Client server: rayreel uses none, and `ray start` has no option for it."""
    params.ray_client_server_port = None
    os.environ.pop("RAY_START_HOOK", None)
