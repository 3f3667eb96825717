"""Access to a Ray cluster of this machine: it listens on loopback and requires the user's token.

Every client of a Ray cluster can run code as the cluster's user. The token is Ray's own: RAY_AUTH_TOKEN, the file that
RAY_AUTH_TOKEN_PATH names, or ~/.ray/auth_token. Ray's commands read it from the same places.
"""

import logging
import os
import secrets
import tempfile
from pathlib import Path

from filelock import FileLock

from rayreel.compat.ray_auth import answer_of, has_token, reload_token, set_mode
from rayreel.compat.ray_cluster import START_HOOK, stay_on_loopback
from rayreel.compat.ray_startup import AUTH_MODE, NETWORKED, token_path
from rayreel.errors import RayreelError

log = logging.getLogger(__name__)


class NoToken(RayreelError):
    """There is no token for Ray, and none can be made."""


class TokenRefused(RayreelError):
    """A Ray cluster requires a token other than this user's."""


def protected() -> dict[str, str]:
    """Environment variables for `ray start`: listen on loopback, require the token. Makes a token if there is none.

    RAY_AUTH_MODE=disabled in this process's environment is respected, with a warning. Raises NoToken.
    """
    variables = {NETWORKED: "0", "RAY_START_HOOK": START_HOOK}
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
    stay_on_loopback()
    set_mode(variables[AUTH_MODE])


def adopt(address: str) -> None:
    """Set this process's mode to that of the cluster at `address` (host:port): with the token or without.

    If the cluster does not answer, the mode stays as it is, and joining the cluster reports why. Raises TokenRefused
    if the cluster requires a token and refuses this user's.
    """
    import grpc

    if address.rpartition(":")[0] in {"127.0.0.1", "localhost"}:
        stay_on_loopback()
    before = os.environ.get(AUTH_MODE)
    set_mode("disabled")
    answer = answer_of(address)
    if answer is grpc.StatusCode.UNAUTHENTICATED:
        _present_token(address)
    elif answer is not grpc.StatusCode.OK:
        set_mode(before)
    elif (before or "").lower() != "disabled":
        log.warning(
            "The Ray cluster at %s requires no token: anyone who can reach its ports can run code in it. Start it "
            "with RAY_AUTH_MODE=token.",
            address,
        )


def _present_token(address: str) -> None:
    import grpc

    set_mode("token")
    found = has_token()
    if not found or answer_of(address) is grpc.StatusCode.UNAUTHENTICATED:
        problem = "holds a different one" if found else "does not exist"
        raise TokenRefused(
            f"The Ray cluster at {address} requires a token, and {token_file()} {problem}. If it is your cluster, set "
            "RAY_AUTH_TOKEN_PATH to the file with its token. If it is another user's, set RAY_TMPDIR to a folder of "
            "your own with a short path to start your own cluster, or RAY_ADDRESS=local to run one job without a "
            "cluster."
        )


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
    reload_token()


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
