"""Ray's token authentication, as it is and as it is patched."""

from pathlib import Path

from compat_alone import printed
from control_service import serving

MENDED = "Ray mends this now: remove rayreel.compat.ray_auth."
MODE = """
import os
from ray._private.authentication.authentication_utils import is_token_auth_enabled
from rayreel.compat.ray_auth import set_mode

os.environ["RAY_AUTH_MODE"] = "token"
print(is_token_auth_enabled())
set_mode("token")
print(is_token_auth_enabled())
"""
TOKEN = """
import pathlib
from ray._raylet import AuthenticationTokenLoader
from rayreel.compat.ray_auth import has_token, reload_token

def show():
    print(has_token(), AuthenticationTokenLoader.instance().get_token_for_http_header().get("authorization"))

file = pathlib.Path.home() / ".ray" / "auth_token"
file.parent.mkdir()
show()
file.write_text("first")
show()
file.write_text("second")
show()
reload_token()
show()
"""
JOIN = """
import ray

try:
    ray.init("{address}", log_to_driver=False)
except Exception as error:
    print(type(error).__name__, error)
"""


def test_upstream_reads_the_mode_only_when_it_is_imported(tmp_path: Path) -> None:
    upstream, patched = printed(MODE, tmp_path).splitlines()
    assert upstream == "False", f"{MENDED}set_mode"
    assert patched == "True"


def test_upstream_keeps_the_first_token_that_it_finds(tmp_path: Path) -> None:
    *before, upstream, patched = printed(TOKEN, tmp_path).splitlines()
    assert before == ["False None", "True Bearer first"]
    assert upstream == "True Bearer first", f"{MENDED}reload_token"
    assert patched == "True Bearer second"


def test_upstream_reports_a_refused_token_like_a_cluster_that_is_down(tmp_path: Path) -> None:
    server, address = serving("another user's")
    variables = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "mine", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    # By default Ray tries for 20 s.
    shown = printed(JOIN.format(address=address), tmp_path, RAY_NUM_REDIS_GET_RETRIES="2", **variables)
    server.stop(None)
    assert shown == f"ConnectionError Failed to connect to Ray cluster at {address}", f"{MENDED}answer_of"
