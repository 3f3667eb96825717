"""Who may use a Ray of this machine: it listens on loopback and requires the user's token.

Whoever may talk to Ray may run code as its user. The token is Ray's own: RAY_AUTH_TOKEN, the file that
RAY_AUTH_TOKEN_PATH names, or ~/.ray/auth_token, where Ray's commands look for it, too.
"""

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayreel.errors import RayreelError

if TYPE_CHECKING:
    import grpc  # type: ignore[import-untyped]

log = logging.getLogger(__name__)

MODE = "RAY_AUTH_MODE"
# Ray's switch for macOS and Windows. Off, the address of a node is 127.0.0.1; on, as it is by default on Linux, Ray
# replaces even --node-ip-address=127.0.0.1 by the address that the network knows (services.resolve_ip_for_localhost).
NETWORKED = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_PATIENCE_S = 10


class NoToken(RayreelError):
    """There is no token for Ray, and none could be made."""


class NotLetIn(RayreelError):
    """A Ray cluster requires another token than this user's."""


def protected() -> dict[str, str]:
    """Variables for `ray start`, and for all that it starts: loopback, token required. Makes the token where none is.

    RAY_AUTH_MODE=disabled, set by hand, is respected. Raises NoToken.
    """
    variables = {NETWORKED: "0", "RAY_START_HOOK": f"{__name__}.without_client_server"}
    # Workers that train together connect directly, by default through the network's interface.
    variables |= {name: os.environ.get(name, "lo") for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")}
    if os.environ.get(MODE, "").lower() == "disabled":
        log.warning(
            "%s=disabled: every user of this machine can run code as you, through the Ray that starts now", MODE
        )
        return variables | {MODE: "disabled"}
    make_token()
    return variables | {MODE: "token"}


def protect() -> None:
    """Let the Ray that this process starts with `ray.init(address="local")` be like that. Raises NoToken."""
    variables = protected()
    os.environ.update(variables)
    _stay_on_loopback()
    _switch(variables[MODE])


def adopt(address: str) -> None:
    """Let this process talk to the cluster at `address` (host:port) as that requires: with the token, or without.

    Raises NotLetIn where the cluster requires a token and refuses this user's. Of a cluster that does not answer
    nothing is found out: joining it says why.
    """
    import grpc

    if address.rpartition(":")[0] in {"127.0.0.1", "localhost"}:
        _stay_on_loopback()
    before = os.environ.get(MODE)
    _switch("disabled")
    answer = _answer(address)
    if answer is grpc.StatusCode.UNAUTHENTICATED:
        _present_token(address)
    elif answer is not grpc.StatusCode.OK:
        _switch(before)
    elif (before or "").lower() != "disabled":
        log.warning(
            "The Ray cluster at %s requires no token: whoever reaches its ports can run code in it. Start it with "
            "RAY_AUTH_MODE=token.",
            address,
        )


def _present_token(address: str) -> None:
    import grpc

    _switch("token")
    there = _raylet().AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True)
    if not there or _answer(address) is grpc.StatusCode.UNAUTHENTICATED:
        found = "holds another one" if there else "does not exist"
        raise NotLetIn(
            f"The Ray cluster at {address} requires a token, and {token_file()} {found}. If it is your cluster, set "
            "RAY_AUTH_TOKEN_PATH to the file of its token. If it is another user's, set RAY_TMPDIR to a folder of your "
            "own with a short path to start a cluster beside it, or RAY_ADDRESS=local to run one job without a cluster."
        )


def _answer(address: str) -> "grpc.StatusCode":
    """What the cluster's control service says to a question that changes nothing."""
    import grpc
    from ray._private.grpc_utils import init_grpc_channel
    from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

    with init_grpc_channel(address) as channel:
        stub = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel)
        try:
            stub.GetClusterId(gcs_service_pb2.GetClusterIdRequest(), timeout=_PATIENCE_S)
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()
            return code
    return grpc.StatusCode.OK


def token_file() -> Path:
    """Where Ray reads the user's token from. Raises NoToken where neither a path nor a home folder is known."""
    if given := os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return Path(given)
    try:
        return Path.home() / ".ray" / "auth_token"
    except RuntimeError as error:
        raise NoToken("Ray's token lies in the home folder, and there is none. Set RAY_AUTH_TOKEN_PATH.") from error


def make_token() -> None:
    """Write a token that only the user can read, unless there is one. Raises NoToken."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return
    file = token_file()
    try:
        _make(file)
    except OSError as error:
        raise NoToken(
            f"{file}: {error.strerror or error}. Ray's token is kept there. Make it a file that you can read and "
            "write, or set RAY_AUTH_TOKEN_PATH to one."
        ) from error
    _forget()


def _make(file: Path) -> None:
    # Here, as every Python of .venv imports this module when it starts.
    import secrets
    import tempfile

    from filelock import FileLock

    if _holds_something(file):
        # `ray get-auth-token --generate` lets everybody read it.
        if file.stat().st_uid == os.getuid() and file.stat().st_mode & 0o077:
            file.chmod(0o600)
        return
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(file.with_name(f".{file.name}.lock")):
        if not _holds_something(file):
            handle, fresh = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # mode 600
            with os.fdopen(handle, "w") as out:
                out.write(secrets.token_hex(32))
            Path(fresh).replace(file)


def _holds_something(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0


def _forget() -> None:
    """Ray keeps what it once read, also that there was nothing."""
    _raylet().AuthenticationTokenLoader.instance().reset_cache()


def _switch(mode: str | None) -> None:
    """Set the mode of this process and of those that it starts; Ray has read the variable when it was imported."""
    if mode is None:
        os.environ.pop(MODE, None)
    else:
        os.environ[MODE] = mode
    _raylet().Config.initialize("")


def _raylet() -> Any:  # noqa: ANN401 - Ray's compiled part has no types
    from ray import _raylet

    return _raylet


def _stay_on_loopback() -> None:
    """Let Ray take 127.0.0.1 for this machine's address, here and in what this process starts."""
    from ray._private import ray_constants

    os.environ[NETWORKED] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False  # read when ray was imported


def without_client_server(params: Any, head: bool) -> None:  # noqa: ANN401 - Ray's, called by `ray start`
    """RAY_START_HOOK: start no Ray Client server, which nobody uses here; `ray start` has no option for that."""
    params.ray_client_server_port = None
    os.environ.pop("RAY_START_HOOK", None)


def for_commands() -> None:
    """Let `ray` and `serve` of .venv reach the Ray of this machine; runs whenever a Python of .venv starts.

    By themselves they send the token only with RAY_AUTH_MODE=token, whereas `ray start` requires it as soon as there is
    one; and any program looks for a cluster on loopback at the network's address.
    """
    try:
        # Not for other programs: a worker has to do as its cluster does, also when a token is made meanwhile.
        is_command = len(sys.orig_argv) > 1 and Path(sys.orig_argv[1]).name in {"ray", "serve"}
        if is_command and (os.environ.get("RAY_AUTH_TOKEN") or token_file().exists()):
            os.environ.setdefault(MODE, "token")
        folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - as Ray does
        current = Path(folder) / "ray" / "ray_current_cluster"
        if current.exists() and current.read_text().startswith("127.0.0.1:"):
            os.environ.setdefault(NETWORKED, "0")
    except (OSError, NoToken):  # Ray's own defaults, then
        return
