"""What Ray's commands find in their environment, with rayreel_ray.pth and without."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ray._private import services

from compat_alone import printed
from rayreel.compat.ray_startup import recorded_address

ROOT = Path(__file__).parents[2]
SHOW = "import os; print(os.environ.get('RAY_AUTH_MODE'), os.environ.get('RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER'))"


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty home folder, in which Ray also keeps its files."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    return tmp_path


def store_token(home: Path) -> None:
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("a" * 64)


def record(address: str, home: Path) -> None:
    (home / "ray").mkdir(exist_ok=True)
    (home / "ray" / "ray_current_cluster").write_text(address)


def test_upstream_sends_no_token_although_there_is_one(home: Path) -> None:
    store_token(home)
    code = "from ray._private.authentication.authentication_utils import is_token_auth_enabled as e; print(e())"
    assert printed(code, home) == "False", "Ray mends this now: simplify rayreel.compat.ray_startup.prepare"


def test_upstream_joins_any_ray_of_the_machine(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(services, "find_gcs_addresses", lambda: {"192.0.2.10:6379"})
    found = services.get_ray_address_from_environment("auto", None)
    assert found == "192.0.2.10:6379", "Ray mends this now: remove rayreel.compat.ray_startup.recorded_address"


def test_the_recorded_address_is_the_one_that_ray_records(home: Path) -> None:
    assert recorded_address() is services.find_bootstrap_address(None) is None
    record("127.0.0.1:6379\n", home)
    assert recorded_address() == services.find_bootstrap_address(None) == "127.0.0.1:6379"


@pytest.mark.timeout(10)
def test_another_users_pipe_does_not_block(home: Path) -> None:
    (home / "ray").mkdir()
    os.mkfifo(home / "ray" / "ray_current_cluster")
    assert recorded_address() is None


def seen_by(program: str, home: Path, **variables: str) -> str:
    """Return what a program in .venv finds in its environment, with rayreel_ray.pth as installed by `make install`."""
    folder = home / "site"
    folder.mkdir(exist_ok=True)
    (folder / "rayreel_ray.pth").write_bytes((ROOT / "platform" / "rayreel_ray.pth").read_bytes())
    (home / program).write_text(f"import site; site.addsitedir({str(folder)!r}); {SHOW}")
    environment = {"HOME": str(home), "RAY_TMPDIR": str(home), "PATH": os.environ["PATH"]}
    environment |= {"PYTHONPATH": os.environ.get("PYTHONPATH", "")} | variables
    words = [sys.executable, str(home / program)]
    run = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert not run.stderr
    return run.stdout.strip()


def test_ray_commands_use_the_token_and_find_a_cluster_on_loopback(home: Path) -> None:
    assert seen_by("serve", home) == "None None"
    store_token(home)
    assert seen_by("serve", home) == "token None"
    record("192.0.2.10:6379", home)
    assert seen_by("serve", home) == "token None"
    record("127.0.0.1:6379", home)
    assert seen_by("serve", home) == "token 0"
    assert seen_by("serve", home, RAY_AUTH_MODE="disabled") == "disabled 0"


def test_a_worker_follows_its_cluster_even_if_a_token_is_created_later(home: Path) -> None:
    store_token(home)
    assert seen_by("default_worker.py", home) == "None None"
