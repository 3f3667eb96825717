"""`rayreel promote`, `rayreel follow` and the quickstart's promotion: what they print and switch."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from io import StringIO

import pytest

from feature_rows import KEY
from rayreel.cli import output
from rayreel.cli.steps import follow, quickstart
from rayreel.cli.steps import promote as steps
from rayreel.errors import RayreelError
from rayreel.release import audit, registry
from rayreel.release.gates import PromotionRefused
from rayreel.release.site import Site
from rayreel.settings import Settings, load_settings
from release_site import point_champion


@dataclass
class JobRun:
    """Settings of the commands, and the output so far."""

    settings: Settings
    buffer: StringIO = field(default_factory=StringIO)

    @property
    def output(self) -> str:
        return self.buffer.getvalue()


@pytest.fixture
def run(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobRun]:
    sets = [f"index.uri={site.client._config.uri}", "evaluation.bootstrap=500", "release.gates.baselines=off"]
    run = JobRun(load_settings(None, sets, site.storage.root))
    monkeypatch.setattr(output.console, "_file", run.buffer)
    monkeypatch.setattr(output.console, "_width", 250)
    # The key of the settings' encoders needs their weights; these features were not made by networks.
    monkeypatch.setattr(Settings, "encoder_key", property(lambda settings: str(KEY)))
    yield run


def test_a_promotion_shows_every_gate_and_the_switch(run: JobRun) -> None:
    steps.promote_tower(run.settings, registry.resolve("1"))
    for words in ("encoder key", "recall of the index", "passed", "Promotion", "videos_v1 has exactly"):
        assert words in run.output
    assert "failed" not in run.output


def test_a_refused_promotion_shows_the_gates_and_changes_nothing(run: JobRun, site: Site) -> None:
    steps.promote_tower(run.settings, registry.resolve("2"))
    with pytest.raises(PromotionRefused):
        steps.promote_tower(run.settings, registry.resolve("3"))
    assert "failed" in run.output and "requires a lead with p < 0.05" in run.output and site.serving() == 2


def test_check_builds_and_switches_nothing(run: JobRun, site: Site) -> None:
    steps.check_tower(run.settings, registry.resolve("1"))
    assert site.serving() is None and site.client.list_collections() == []
    assert "Every gate that needs no index has passed." in run.output


def test_force_needs_a_reason(run: JobRun, site: Site) -> None:
    with pytest.raises(RayreelError, match="needs a reason"):
        steps.promote_tower(run.settings, registry.resolve("1"), force=" ")
    assert site.serving() is None


def test_the_follow_command_reports_what_serves_or_why_not(run: JobRun, site: Site) -> None:
    steps.promote_tower(run.settings, registry.resolve("1"))
    point_champion(2)
    assert follow.follow_champion(run.settings).serving == 2 == site.serving()
    point_champion(3)
    with pytest.raises(follow.NotFollowed, match="better: champion"):
        follow.follow_champion(run.settings)
    assert site.serving() == 2 and "refused" in run.output


def test_a_promotion_reports_the_champion_that_it_replaces(run: JobRun, site: Site) -> None:
    steps.promote_tower(run.settings, registry.resolve("1"))
    point_champion(3)
    steps.promote_tower(run.settings, registry.resolve("2"))
    assert "was version 3, which did not serve" in run.output and site.serving() == 2


def test_a_roll_back_reports_the_release_that_serves_again(run: JobRun, site: Site) -> None:
    steps.promote_tower(run.settings, registry.resolve("1"))
    steps.promote_tower(run.settings, registry.resolve("2"))
    steps.roll_back_release(run.settings)
    assert site.serving() == 1 and "Roll-back" in run.output


def test_the_quickstart_continues_with_the_champion_if_a_new_tower_is_refused(run: JobRun, site: Site) -> None:
    quickstart.release(run.settings, registry.resolve("2"))
    quickstart.release(run.settings, registry.resolve("3"))
    assert site.serving() == 2 and "Version 2 keeps serving" in run.output
    quickstart.release(run.settings, registry.resolve("2"))
    assert "serves already, with an index of exactly these features" in run.output


def test_the_quickstart_serves_a_classifier_if_its_first_tower_is_not_better(run: JobRun, site: Site) -> None:
    gates = run.settings.release.gates.model_copy(update={"baselines": "better"})
    strict = run.settings.release.model_copy(update={"gates": gates})
    served = quickstart.release(run.settings.model_copy(update={"release": strict}), registry.resolve("1"))
    assert site.serving() == served.number > 3 and registry.load(served).kind == "probe"
    assert audit.history()[0].forced_reason is None
    assert "Nothing shows that version 1 is better than features without training" in run.output
