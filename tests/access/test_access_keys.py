"""API keys: storage, validity and scopes."""

import time
from collections.abc import Callable

import pytest

from rayreel.access.keys import BadKeys, Keyring, Scope, dump_keys, new_key, read_keys


def test_a_key_is_recognized_by_its_text_and_only_its_hash_is_stored() -> None:
    text, key = new_key("phone app", Scope.READ)
    content = dump_keys([key])
    assert text.split("_", 2)[2].encode() not in content
    assert Keyring(read_keys(content)).check(text, time.time()) == key


@pytest.mark.parametrize("change", [lambda t: t[:-1], lambda t: t + "x", lambda t: t.swapcase(), lambda t: f" {t}"])
def test_a_modified_key_is_rejected(change: Callable[[str], str]) -> None:
    text, key = new_key("a", Scope.ADMIN)
    assert Keyring([key]).check(change(text), time.time()) is None


def test_a_key_with_the_secret_of_another_key_is_rejected() -> None:
    (first, a), (second, b) = new_key("a", Scope.READ), new_key("b", Scope.ADMIN)
    mixed = f"rr_{b.id}_{first.removeprefix(f'rr_{a.id}_')}"
    assert Keyring([a, b]).check(mixed, time.time()) is None
    assert Keyring([a, b]).check(second, time.time()) == b


def test_a_key_is_valid_until_it_expires() -> None:
    text, key = new_key("a", Scope.READ, expires_at=1000.0)
    assert Keyring([key]).check(text, 999.9) == key
    assert Keyring([key]).check(text, 1000.0) is None


def test_each_scope_includes_those_before_it() -> None:
    assert Scope.READ < Scope.WRITE < Scope.ADMIN


@pytest.mark.parametrize("content", [b"{", b"[{}]", b'[{"id": "x"}]', b"\xff"])
def test_a_damaged_file_raises_an_error(content: bytes) -> None:
    with pytest.raises(BadKeys, match="damaged"):
        read_keys(content)


def test_a_missing_file_has_no_keys() -> None:
    assert read_keys(None) == []
