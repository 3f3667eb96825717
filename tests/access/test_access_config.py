"""When requests need keys, and limits derived from others."""

import pytest

from rayreel.access.config import ServeConfig
from rayreel.cli.steps.cluster import environment
from rayreel.settings import load_settings


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


@pytest.mark.parametrize("timeout_s", [0.5, 30.0, 200.0])
def test_everything_that_waits_for_a_request_waits_longer_than_a_request_may_take(timeout_s: float) -> None:
    settings = load_settings(sets=[f"serve.timeout_s={timeout_s}"])
    config, proxy = settings.serve, environment(settings)
    assert timeout_s < config.shutdown_s < int(proxy["RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S"])
    assert timeout_s < int(proxy["RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S"])
    assert timeout_s < int(proxy["RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S"])


def test_decoders_are_one_per_two_cores_but_at_most_four_unless_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, decoders in ((1, 1), (2, 1), (6, 3), (64, 4), (None, 1)):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        assert ServeConfig().decoding_processes == decoders
    assert ServeConfig(decoders=12).decoding_processes == 12


def test_an_explicit_setting_applies_to_every_host() -> None:
    assert ServeConfig(require_keys=True).needs_keys("127.0.0.1")
    assert not ServeConfig(require_keys=False).needs_keys("0.0.0.0")
