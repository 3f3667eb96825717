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
from rayreel.release.gates import Refused
from rayreel.release.site import Site
from rayreel.settings import Settings, load_settings
from release_site import point_champion


@dataclass
class Terminal:
    """The settings of the commands, and their output so far."""

    settings: Settings
    buffer: StringIO = field(default_factory=StringIO)

    @property
    def printed(self) -> str:
        return self.buffer.getvalue()


@pytest.fixture
def terminal(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    sets = [f"index.uri={site.client._config.uri}", "evaluation.bootstrap=500", "release.gates.baselines=off"]
    terminal = Terminal(load_settings(None, sets, site.storage.root))
    monkeypatch.setattr(output.console, "_file", terminal.buffer)
    monkeypatch.setattr(output.console, "_width", 250)
    # The key of the settings' encoders needs their weights; these features come from no network.
    monkeypatch.setattr(Settings, "encoder_key", property(lambda settings: str(KEY)))
    yield terminal


def test_a_promotion_shows_every_gate_and_what_was_switched(terminal: Terminal) -> None:
    steps.promote_tower(terminal.settings, registry.resolve("1"))
    for words in ("encoder key", "recall of the index", "passed", "Promotion", "videos_v1 holds exactly"):
        assert words in terminal.printed
    assert "failed" not in terminal.printed


def test_a_refused_promotion_shows_the_gates_and_leaves_everything(terminal: Terminal, site: Site) -> None:
    steps.promote_tower(terminal.settings, registry.resolve("2"))
    with pytest.raises(Refused):
        steps.promote_tower(terminal.settings, registry.resolve("3"))
    assert "failed" in terminal.printed and "a lead with p < 0.05 is needed" in terminal.printed and site.serving() == 2


def test_check_builds_and_switches_nothing(terminal: Terminal, site: Site) -> None:
    steps.check_tower(terminal.settings, registry.resolve("1"))
    assert site.serving() is None and site.client.list_collections() == []
    assert "Every gate that needs no index has passed." in terminal.printed


def test_force_needs_a_reason(terminal: Terminal, site: Site) -> None:
    with pytest.raises(RayreelError, match="needs a reason"):
        steps.promote_tower(terminal.settings, registry.resolve("1"), force=" ")
    assert site.serving() is None


def test_follow_prints_what_serves_or_why_not(terminal: Terminal, site: Site) -> None:
    steps.promote_tower(terminal.settings, registry.resolve("1"))
    point_champion(2)
    assert follow.follow_champion(terminal.settings).serving == 2 == site.serving()
    point_champion(3)
    with pytest.raises(follow.NotFollowed, match="better: champion"):
        follow.follow_champion(terminal.settings)
    assert site.serving() == 2 and "refused" in terminal.printed


def test_a_promotion_names_the_champion_that_it_replaces(terminal: Terminal, site: Site) -> None:
    steps.promote_tower(terminal.settings, registry.resolve("1"))
    point_champion(3)
    steps.promote_tower(terminal.settings, registry.resolve("2"))
    assert "was version 3, which did not serve" in terminal.printed and site.serving() == 2


def test_a_roll_back_prints_what_serves_again(terminal: Terminal, site: Site) -> None:
    steps.promote_tower(terminal.settings, registry.resolve("1"))
    steps.promote_tower(terminal.settings, registry.resolve("2"))
    steps.roll_back_release(terminal.settings)
    assert site.serving() == 1 and "Roll-back" in terminal.printed


def test_the_quickstart_keeps_the_champion_if_a_new_tower_is_refused(terminal: Terminal, site: Site) -> None:
    quickstart.release(terminal.settings, registry.resolve("2"))
    quickstart.release(terminal.settings, registry.resolve("3"))
    assert site.serving() == 2 and "Version 2 keeps serving" in terminal.printed
    quickstart.release(terminal.settings, registry.resolve("2"))
    assert "serves already, with an index of exactly these features" in terminal.printed


def test_the_quickstart_promotes_the_first_tower_despite_its_gates_and_records_it(
    terminal: Terminal, site: Site
) -> None:
    gates = terminal.settings.release.gates.model_copy(update={"baselines": "above"})
    strict = terminal.settings.release.model_copy(update={"gates": gates})
    quickstart.release(terminal.settings.model_copy(update={"release": strict}), registry.resolve("1"))
    assert site.serving() == 1 and audit.history()[0].forced_reason == quickstart.FIRST
