import pytest
from pydantic import ValidationError

from rayreel.release.config import GoldenQuery, ReleaseConfig
from rayreel.settings import SettingsError, load_settings


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"expect_category": "sport"}, "exactly one"),
        ({"text": "surf", "video_id": "v1", "expect_category": "sport"}, "exactly one"),
        ({"text": "surf"}, "exactly one"),
        ({"text": "surf", "expect_ids": ["v1"], "expect_category": "sport"}, "exactly one"),
        ({"text": "surf", "expect_ids": ["v1"], "at_least": 2}, "no more than 1"),
        ({"text": "surf", "expect_category": "sport", "top_k": 3, "at_least": 4}, "no more than 3"),
    ],
)
def test_a_golden_query_needs_one_query_and_one_possible_expectation(fields: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        GoldenQuery.model_validate(fields)


def test_gates_can_be_configured_with_set() -> None:
    golden = "[{text: surf at dawn, expect_category: ocean_waves, at_least: 3}]"
    sets = ["release.gates.champion=not_worse", "release.gates.baselines=off", f"release.gates.golden={golden}"]
    settings = load_settings(None, sets)
    assert (settings.release.gates.champion, settings.release.gates.baselines) == ("not_worse", "off")
    assert settings.release.gates.golden[0].expect_category == "ocean_waves"


def test_following_mlflow_is_a_setting_and_yaml_off_is_not_read_as_false() -> None:
    assert ReleaseConfig().follow == "gate"
    assert load_settings(None, ["release.follow=off"]).release.follow == "off"
    with pytest.raises(SettingsError, match=r"release\.follow"):
        load_settings(None, ["release.follow=always"])


def test_the_previous_release_is_always_kept_for_requests_in_flight() -> None:
    with pytest.raises(SettingsError, match=r"release\.keep"):
        load_settings(None, ["release.keep=0"])
    assert ReleaseConfig().keep >= 1
