"""When requests need keys."""

import pytest

from rayreel.access.config import ServeConfig


@pytest.mark.parametrize(
    ("host", "needed"),
    [
        ("127.0.0.1", False),
        ("127.8.9.1", False),
        ("::1", False),
        ("[::1]", False),
        ("localhost", False),
        ("0.0.0.0", True),
        ("::", True),
        ("10.0.0.1", True),
        ("localhost.example.com", True),
        ("", True),
        (None, True),
    ],
)
def test_keys_are_needed_unless_only_this_machine_can_connect(host: str | None, needed: bool) -> None:
    assert ServeConfig().needs_keys(host) is needed


def test_an_explicit_setting_applies_to_every_host() -> None:
    assert ServeConfig(require_keys=True).needs_keys("127.0.0.1")
    assert not ServeConfig(require_keys=False).needs_keys("0.0.0.0")
