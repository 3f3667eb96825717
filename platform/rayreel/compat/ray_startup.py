"""Environment variables for the `ray` and `serve` commands of .venv, set when Python starts.

rayreel_ray.pth runs this module in every Python process of .venv. It therefore imports only modules that Python has
already loaded, and reads one small file.
"""

# Importing pathlib would take longer than the rest of this module.
# ruff: noqa: PTH110, PTH111, PTH118, PTH119

import os
import sys

AUTH_MODE = "RAY_AUTH_MODE"
# Ray's switch for macOS and Windows. When off, a node's address is 127.0.0.1. When on, the default on Linux, Ray
# replaces even --node-ip-address=127.0.0.1 with the machine's network address (services.resolve_ip_for_localhost).
NETWORKED = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_COMMANDS = {"ray", "serve"}
# Longer than any host name.
_ADDRESS_BYTES = 300


def token_path() -> str | None:
    """Path of the user's Ray token; None without RAY_AUTH_TOKEN_PATH and a home folder."""
    if given := os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return given
    home = os.path.expanduser("~")
    return None if home.startswith("~") else os.path.join(home, ".ray", "auth_token")


def recorded_address() -> str | None:
    """Address (host:port) of the cluster that `ray start` recorded on this machine; None if there is none.

    Ray's public `address="auto"` joins any Ray on the machine, even another user's.
    """
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - as Ray does
    try:
        # Another user may own this path: a pipe must not block, and an endless file must not be read to its end.
        file = os.open(os.path.join(folder, "ray", "ray_current_cluster"), os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return os.read(file, _ADDRESS_BYTES).decode(errors="replace").strip() or None
    except OSError:
        return None
    finally:
        os.close(file)


def prepare() -> None:
    """Set variables so that `ray` and `serve` reach the Ray of this machine.

    On their own, these commands send the token only with RAY_AUTH_MODE=token, although a cluster requires it whenever
    a token exists. And every program expects a cluster that listens on loopback at the machine's network address.
    """
    # Not for other programs: a worker must use its cluster's mode, even if a token is made in the meantime.
    if len(sys.orig_argv) > 1 and os.path.basename(sys.orig_argv[1]) in _COMMANDS and _has_token():
        os.environ.setdefault(AUTH_MODE, "token")
    if (recorded_address() or "").startswith("127.0.0.1:"):
        os.environ.setdefault(NETWORKED, "0")


def _has_token() -> bool:
    path = token_path()
    return bool(os.environ.get("RAY_AUTH_TOKEN")) or (path is not None and os.path.exists(path))
