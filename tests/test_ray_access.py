"""Access to Ray clusters by token."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray._private.authentication.authentication_utils import is_token_auth_enabled

from control_service import serving
from rayreel.compat.ray_auth import reload_token, set_mode
from rayreel.ray_access import NoToken, TokenRefused, adopt, make_token, protected


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """An empty home folder, without variables that point to a token."""
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    yield tmp_path
    monkeypatch.undo()
    set_mode(os.environ["RAY_AUTH_MODE"])
    reload_token()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_token_is_created_where_ray_looks_for_it_and_readable_only_by_the_user(home: Path) -> None:
    variables = protected()
    file = home / ".ray" / "auth_token"
    assert variables["RAY_AUTH_MODE"] == "token"
    assert len(file.read_text()) == 64 and mode(file) == 0o600 and mode(file.parent) == 0o700
    assert file.read_text() not in " ".join(variables.values())
    assert [path for path in file.parent.iterdir() if path.read_text()] == [file]


def test_an_existing_token_is_kept_and_made_private(home: Path) -> None:
    file = home / ".ray" / "auth_token"
    file.parent.mkdir()
    file.write_text("an old token")
    file.chmod(0o644)
    make_token()
    assert file.read_text() == "an old token" and mode(file) == 0o600


def test_an_empty_token_file_is_replaced(home: Path) -> None:
    file = home / ".ray" / "auth_token"
    file.parent.mkdir()
    file.touch()
    make_token()
    assert len(file.read_text()) == 64 and mode(file) == 0o600


def test_a_token_path_set_by_the_user_is_used(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(home / "mine" / "token"))
    make_token()
    assert len((home / "mine" / "token").read_text()) == 64
    assert not (home / ".ray").exists()


def test_concurrent_processes_agree_on_one_token(home: Path) -> None:
    make = "from rayreel.ray_access import make_token, token_file; make_token(); print(token_file().read_text())"
    running = [
        subprocess.Popen([sys.executable, "-c", make], stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        for _ in range(4)
    ]
    assert len({process.communicate()[0] for process in running}) == 1


def test_a_token_that_cannot_be_written_is_reported_with_its_path(home: Path) -> None:
    (home / ".ray").write_text("a file where the folder should be")
    with pytest.raises(NoToken, match=r"auth_token.*RAY_AUTH_TOKEN_PATH"):
        make_token()


def test_tokens_are_disabled_only_explicitly_and_with_a_warning(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert protected()["RAY_AUTH_MODE"] == "disabled"
    assert "can run code as you" in caplog.text
    assert not (home / ".ray").exists()


def test_the_token_is_sent_to_a_cluster_that_requires_it(home: Path) -> None:
    make_token()
    server, address = serving((home / ".ray" / "auth_token").read_text())
    adopt(address)
    assert is_token_auth_enabled() and os.environ["RAY_AUTH_MODE"] == "token"
    server.stop(None)


@pytest.mark.parametrize("own", [True, False])
def test_a_cluster_with_another_token_is_reported_with_the_remedies(home: Path, own: bool) -> None:
    if own:
        make_token()
    server, address = serving("another user's")
    with pytest.raises(TokenRefused) as raised:
        adopt(address)
    for word in (address, "auth_token", "RAY_AUTH_TOKEN_PATH", "RAY_TMPDIR", "RAY_ADDRESS=local"):
        assert word in str(raised.value)
    server.stop(None)


def test_a_cluster_without_tokens_is_joined_with_a_warning(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_token()
    server, address = serving(None)
    adopt(address)
    assert not is_token_auth_enabled()
    assert address in caplog.text and "requires no token" in caplog.text
    server.stop(None)


def test_an_unreachable_cluster_does_not_change_the_auth_mode(home: Path, unused_port: int) -> None:
    adopt(f"127.0.0.1:{unused_port}")
    assert "RAY_AUTH_MODE" not in os.environ


@pytest.fixture
def unused_port() -> int:
    from ports import free_port

    return free_port()
