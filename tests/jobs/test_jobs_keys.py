"""The keys job as an operator meets it."""

import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from keys import app
from rayreel.access.keyfile import KeyFile
from rayreel.access.keys import BadKeys, Keyring, Scope
from rayreel.errors import RayreelError
from rayreel.storage import Storage


def start(storage: Path, *words: str) -> Result:
    result = CliRunner().invoke(app, [*words, "--storage", str(storage)])
    if isinstance(result.exception, RayreelError):
        raise result.exception
    return result


def counting(storage: Path, text: str, now: float | None = None) -> Scope | None:
    key = Keyring(KeyFile(Storage(storage)).read()).check(text, time.time() if now is None else now)
    return None if key is None else key.scope


def test_a_key_is_printed_alone_on_the_first_line_and_counts(tmp_path: Path) -> None:
    text = start(tmp_path, "create", "phone app", "--scope", "write").stdout.splitlines()[0]
    assert counting(tmp_path, text) is Scope.WRITE


def test_a_key_with_an_end_counts_until_then(tmp_path: Path) -> None:
    text = start(tmp_path, "create", "a", "--days", "2").stdout.splitlines()[0]
    assert counting(tmp_path, text) is Scope.READ
    assert counting(tmp_path, text, time.time() + 3 * 86_400) is None


def test_the_list_names_the_keys_and_tells_no_secret(tmp_path: Path) -> None:
    text = start(tmp_path, "create", "phone", "--scope", "admin").stdout.splitlines()[0]
    listed = start(tmp_path, "list").stdout
    _, key_id, secret = text.split("_", 2)
    assert key_id in listed and "phone" in listed and "admin" in listed
    assert secret not in listed


def test_a_revoked_key_ends_at_once_or_when_it_is_told_to(tmp_path: Path) -> None:
    old, other = (start(tmp_path, "create", name).stdout.splitlines()[0] for name in ("old", "other"))
    start(tmp_path, "revoke", old.split("_")[1], "--after-hours", "24")
    start(tmp_path, "revoke", other.split("_")[1])
    assert counting(tmp_path, old) is Scope.READ and counting(tmp_path, other) is None
    assert counting(tmp_path, old, time.time() + 25 * 3600) is None


def test_an_unknown_scope_or_key_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    assert "read, write, admin" in start(tmp_path, "create", "a", "--scope", "god").output
    with pytest.raises(BadKeys, match=r"keys\.py list"):
        start(tmp_path, "revoke", "000000000000")
