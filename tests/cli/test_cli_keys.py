"""`rayreel keys`."""

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rayreel.access.keyfile import KeyFile
from rayreel.access.keys import BadKeys, Keyring, Scope
from rayreel.cli.keys import app
from rayreel.errors import RayreelError
from rayreel.storage import Storage


def start(storage: Path, *words: str) -> Result:
    result = CliRunner().invoke(app, [*words, "--storage", str(storage)])
    if isinstance(result.exception, RayreelError):
        raise result.exception
    return result


def scope_of(storage: Path, text: str, now: float | None = None) -> Scope | None:
    key = Keyring(KeyFile(Storage(storage)).read()).check(text, time.time() if now is None else now)
    return None if key is None else key.scope


def test_a_new_key_is_printed_alone_on_the_first_line_and_is_valid(tmp_path: Path) -> None:
    text = start(tmp_path, "create", "phone app", "--scope", "write").stdout.splitlines()[0]
    assert scope_of(tmp_path, text) is Scope.WRITE


def test_a_key_is_valid_until_it_expires(tmp_path: Path) -> None:
    text = start(tmp_path, "create", "a", "--days", "2").stdout.splitlines()[0]
    assert scope_of(tmp_path, text) is Scope.READ
    assert scope_of(tmp_path, text, time.time() + 3 * 86_400) is None


def test_the_list_shows_keys_without_their_secrets(tmp_path: Path) -> None:
    text = start(tmp_path, "create", "phone", "--scope", "admin").stdout.splitlines()[0]
    listed = start(tmp_path, "list").stdout
    _, key_id, secret = text.split("_", 2)
    assert key_id in listed and "phone" in listed and "admin" in listed
    assert secret not in listed


def test_a_revoked_key_ends_at_once_or_after_the_given_hours(tmp_path: Path) -> None:
    old, other = (start(tmp_path, "create", name).stdout.splitlines()[0] for name in ("old", "other"))
    start(tmp_path, "revoke", old.split("_")[1], "--after-hours", "24")
    start(tmp_path, "revoke", other.split("_")[1])
    assert scope_of(tmp_path, old) is Scope.READ and scope_of(tmp_path, other) is None
    assert scope_of(tmp_path, old, time.time() + 25 * 3600) is None


def test_an_unknown_scope_or_key_is_reported_with_the_known_ones(tmp_path: Path) -> None:
    assert "read, write, admin" in start(tmp_path, "create", "a", "--scope", "god").output
    with pytest.raises(BadKeys, match=r"rayreel keys list"):
        start(tmp_path, "revoke", "000000000000")


def test_json_has_the_key_once_and_the_list_without_it(tmp_path: Path) -> None:
    made = json.loads(start(tmp_path, "create", "phone", "--json").stdout)
    assert scope_of(tmp_path, made["key"]) is Scope.READ
    (listed,) = json.loads(start(tmp_path, "list", "--json").stdout)["keys"]
    assert (listed["id"], listed["valid"], listed["expires_at"]) == (made["id"], True, None) and "key" not in listed
    assert json.loads(start(tmp_path, "revoke", made["id"], "--json").stdout)["expires_at"] is not None
