"""The quickstart's defaults for the sample set."""

from rayreel.cli.steps.quickstart import SAMPLE_SETTINGS
from rayreel.settings import load_settings


def test_on_the_sample_set_the_tower_learns_from_labels_and_viewers() -> None:
    settings = load_settings(defaults=SAMPLE_SETTINGS)
    assert settings.pairs.label > 0 and settings.pairs.co_watched > 0


def test_settings_of_the_user_take_precedence_over_those_defaults() -> None:
    settings = load_settings(sets=["pairs.label=0", "train.batch_size=16"], defaults=SAMPLE_SETTINGS)
    assert settings.pairs.label == 0 and settings.pairs.co_watched > 0
    assert settings.train.batch_size == 16
