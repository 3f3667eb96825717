import pytest

from feature_rows import KEY, feature_row, feature_table
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore
from rayreel.index.alias import drop_collection, switch_alias
from rayreel.index.write import stored_versions
from rayreel.release import audit, journal, registry
from rayreel.release.journal import Switch
from rayreel.release.promote import promote
from rayreel.release.rollback import NothingBefore, roll_back
from rayreel.release.rows import ReleaseRows
from rayreel.release.site import Site
from release_site import VIDEOS

IDS = set(VIDEOS["video_id"].to_pylist())


def in_the_index(site: Site, version: int) -> set[str]:
    return set(stored_versions(site.client, f"videos_v{version}", site.index))


def test_the_previous_release_serves_again_and_the_trail_records_who_and_when(two: Site) -> None:
    announced = []
    done = roll_back(two, announce=lambda: announced.append(two.serving()))
    assert (done.version.number, done.left.number, two.serving(), announced) == (1, 2, 1, [1])
    assert registry.resolve(registry.CHAMPION).number == 1
    left = next(release for release in audit.history() if release.version == 2)
    assert left.rolled_back_at is not None and left.rolled_back_by and not left.champion
    assert [(event["event"], event["version"]) for event in audit.events()] == [
        ("promoted", 1),
        ("promoted", 2),
        ("rolled back", 1),
    ]


def test_a_roll_back_keeps_deletions_and_additions_made_since(two: Site) -> None:
    store = FeatureStore(two.storage, KEY)
    store.add(feature_table(feature_row("late", category="c1")), QUARANTINE.empty_table())
    store.set_catalog([(video_id, "1") for video_id in sorted(IDS - {"v000"} | {"late"})])
    roll_back(two)
    assert in_the_index(two, 1) == IDS - {"v000"} | {"late"}


def test_the_first_release_cannot_be_rolled_back(site: Site) -> None:
    with pytest.raises(NothingBefore, match="No release serves"):
        roll_back(site)
    promote(registry.resolve("1"), site)
    with pytest.raises(NothingBefore, match="Version 1 is the first"):
        roll_back(site)
    assert site.serving() == 1


def test_a_dropped_release_is_rebuilt(two: Site) -> None:
    drop_collection(two.client, "videos_v1")
    ReleaseRows(two.storage, 1).drop()
    roll_back(two)
    assert two.serving() == 1 and in_the_index(two, 1) == IDS


def test_a_version_that_was_rolled_back_from_can_be_promoted_again(two: Site) -> None:
    roll_back(two)
    promote(registry.resolve("2"), two)
    release = audit.history()[0]
    assert two.serving() == 2 and release.version == 2 and release.rolled_back_at is None
    assert len(audit.events()) == 4


def test_a_roll_back_killed_after_its_switch_is_finished_and_not_repeated(two: Site) -> None:
    promote(registry.resolve("3"), two, force="to have three")
    journal.begin(two.storage, Switch("rolled back", 2, 3, 3, "ana", at="2099-01-01T00:00:00.000000+00:00"))
    switch_alias(two.client, two.index.alias, "videos_v2")
    done = roll_back(two)
    assert (done.version.number, done.left.number, two.serving()) == (2, 3, 2)
    assert registry.resolve(registry.CHAMPION).number == 2
    assert [event["event"] for event in audit.events()].count("rolled back") == 1
