from pathlib import Path

import pytest

from rayreel.release import audit, registry
from rayreel.release.registry import NoSuchVersion
from rayreel.storage import Storage
from rayreel.training.tracking import use_tracking
from release_site import register, weak_tower
from tracking_database import with_database


def test_a_registered_tower_is_the_challenger_with_all_its_tags_and_nothing_is_printed(
    storage: Storage, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    version = register(storage, weak_tower(), tmp_path / "fourth")
    assert version.number == 4 and registry.resolve(registry.CHALLENGER) == version
    assert registry.load(version).config == weak_tower().config
    assert capfd.readouterr() == ("", "")


def test_tags_are_set_and_deleted(storage: Storage) -> None:
    registry.tag(1, forced_reason="because", promoted_from=None)
    assert registry.tags(1)["forced_reason"] == "because"
    registry.tag(1, forced_reason=None)
    assert "forced_reason" not in registry.tags(1)
    assert set(registry.tags_of_all()) == {1, 2, 3}


def test_an_empty_registry_has_no_history_and_names_the_job_to_run(no_outside_services: None, tmp_path: Path) -> None:
    use_tracking(with_database(tmp_path))
    assert audit.history() == [] and audit.events() == []
    with pytest.raises(NoSuchVersion, match="`rayreel train`"):
        registry.resolve("1")
