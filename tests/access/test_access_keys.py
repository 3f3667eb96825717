"""API keys: what is kept of them and when they count."""

import time
from collections.abc import Callable

import pytest

from rayreel.access.keys import BadKeys, Keyring, Scope, new_key, read_keys, written


def test_a_key_is_known_by_its_text_and_only_its_hash_is_kept() -> None:
    text, key = new_key("phone app", Scope.READ)
    content = written([key])
    assert text.split("_", 2)[2].encode() not in content
    assert Keyring(read_keys(content)).check(text, time.time()) == key


@pytest.mark.parametrize("change", [lambda t: t[:-1], lambda t: t + "x", lambda t: t.swapcase(), lambda t: f" {t}"])
def test_a_text_that_differs_in_anything_is_no_key(change: Callable[[str], str]) -> None:
    text, key = new_key("a", Scope.ADMIN)
    assert Keyring([key]).check(change(text), time.time()) is None


def test_the_secret_of_one_key_opens_no_other() -> None:
    (first, a), (second, b) = new_key("a", Scope.READ), new_key("b", Scope.ADMIN)
    mixed = f"rr_{b.id}_{first.removeprefix(f'rr_{a.id}_')}"
    assert Keyring([a, b]).check(mixed, time.time()) is None
    assert Keyring([a, b]).check(second, time.time()) == b


def test_a_key_counts_until_its_end() -> None:
    text, key = new_key("a", Scope.READ, expires_at=1000.0)
    assert Keyring([key]).check(text, 999.9) == key
    assert Keyring([key]).check(text, 1000.0) is None


def test_each_scope_includes_those_before_it() -> None:
    assert Scope.READ < Scope.WRITE < Scope.ADMIN


@pytest.mark.parametrize("content", [b"{", b"[{}]", b'[{"id": "x"}]', b"\xff"])
def test_a_damaged_file_is_told_and_opens_nothing(content: bytes) -> None:
    with pytest.raises(BadKeys, match="damaged"):
        read_keys(content)


def test_no_file_holds_no_keys() -> None:
    assert read_keys(None) == []
