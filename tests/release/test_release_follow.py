"""After MLflow's champion moves, the serving release follows or the status explains why not."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import mlflow
import pytest

from ports import free_port
from rayreel.index.alias import drop_collection, switch_alias
from rayreel.release import audit, journal, registry
from rayreel.release.config import GatesConfig
from rayreel.release.follow import follow, look, renew
from rayreel.release.following import FollowStatus, State, write_following
from rayreel.release.journal import Switch
from rayreel.release.lease import Lease, build_lease
from rayreel.release.promote import promote
from rayreel.release.rollback import roll_back
from rayreel.release.site import Site
from rayreel.training.tracking import TrackingUnavailable
from release_site import point_champion

BETTER = "category/ndcg@10, better: champion"


def configured(site: Site, **release: object) -> Site:
    return replace(site, release=site.release.model_copy(update=release))


def followed(site: Site) -> FollowStatus:
    """Run one turn of the reconciler: look, act, and write the status."""
    found = follow(site)
    write_following(site.storage, found)
    return found


def trail() -> list[tuple[str, int, str | None]]:
    return [(event["event"], event["version"], event["from"]) for event in audit.events()]


def test_a_better_version_is_promoted_and_recorded_in_tags_and_trail(one: Site) -> None:
    point_champion(2)
    found = followed(one)
    assert (found.state, found.serving, found.wanted) == (State.IN_STEP, 2, 2)
    assert one.serving() == 2 and registry.pointed_at(registry.CHAMPION) == 2
    tags = registry.tags(2)
    assert tags["follow"] == "followed" and tags["promoted_from"] == "1"
    assert tags["promoted_by"].startswith("champion in MLflow, followed by ")
    assert trail() == [("promoted", 1, None), ("promoted", 2, "1")]
    assert audit.history()[0].version == 2 and [gate for gate in audit.history()[0].gates if gate["name"] == BETTER]


def test_a_worse_version_is_refused_by_named_gates_and_nothing_changes(two: Site) -> None:
    before = trail()
    point_champion(3)
    found = followed(two)
    assert (found.state, found.serving, found.wanted, found.gates) == (State.REFUSED, 2, 3, (BETTER,))
    assert BETTER in found.reason and "Release 2 keeps serving" in found.reason
    assert two.serving() == 2 and registry.pointed_at(registry.CHAMPION) == 3, "a person's alias is not touched"
    tags = registry.tags(3)
    assert tags["follow"] == "refused" and "requires a lead with p < 0.05" in tags["follow_reason"]
    assert trail() == [*before, ("refused", 3, "2")] and audit.events()[-1]["gates"] == [BETTER]
    assert "promoted_at" not in tags and "promoted_by" not in tags


def test_a_refused_version_is_judged_and_reported_once(two: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    point_champion(3)
    first = followed(two)
    with Lease(two.storage, build_lease(3), "would be needed to judge it"):
        assert [followed(two), followed(two)] == [first, first]
    assert [event for event, _, _ in trail()].count("refused") == 1


def test_a_refused_champion_is_judged_again_after_it_moved_or_gates_changed(two: Site) -> None:
    point_champion(3)
    followed(two)
    point_champion(2)
    assert followed(two).state is State.IN_STEP and registry.tags(3)["follow"] == "withdrawn"
    point_champion(3)
    assert followed(two).state is State.REFUSED
    assert [event for event, _, _ in trail()].count("refused") == 2
    easy = GatesConfig(baselines="off", champion="off")
    assert followed(configured(two, gates=easy)).state is State.IN_STEP and two.serving() == 3


def test_a_champion_that_is_set_again_is_judged_again(two: Site) -> None:
    point_champion(3)
    found = followed(two)
    assert renew(two, found).state is State.WANTED
    assert followed(two).state is State.REFUSED and [event for event, _, _ in trail()].count("refused") == 2


def test_force_overrules_quality_gates_and_records_the_reason(two: Site) -> None:
    point_champion(3)
    assert followed(configured(two, follow="force")).state is State.IN_STEP and two.serving() == 3
    assert "release.follow is force" in (audit.history()[0].forced_reason or "")


def test_off_changes_nothing(two: Site) -> None:
    before = trail()
    point_champion(1)
    assert followed(configured(two, follow="off")).state is State.OFF
    assert two.serving() == 2 and registry.pointed_at(registry.CHAMPION) == 1 and trail() == before


def test_without_a_champion_the_release_keeps_serving_and_the_deletion_is_recorded_once(two: Site) -> None:
    before = trail()
    point_champion(None)
    found = [followed(two), followed(two)][-1]
    assert found.state is State.NO_CHAMPION and "Release 2 keeps serving" in found.reason
    assert two.serving() == 2 and trail() == [*before, ("champion deleted", 2, "2")]
    point_champion(2)
    assert followed(two).state is State.IN_STEP and len(trail()) == len(before) + 1


def test_a_kept_former_release_serves_again_without_quality_gates(two: Site) -> None:
    point_champion(1)
    assert followed(two).state is State.IN_STEP and two.serving() == 1
    assert trail()[-1] == ("rolled back", 1, "2")
    assert (
        registry.tags(2)["rolled_back_by"].startswith("champion in MLflow") and registry.tags(1)["follow"] == "followed"
    )


def test_a_dropped_former_release_has_to_pass_the_gates(two: Site) -> None:
    drop_collection(two.client, "videos_v1")
    point_champion(1)
    assert followed(two).state is State.REFUSED and two.serving() == 2


def test_a_version_that_was_rolled_back_from_has_to_pass_the_gates(two: Site) -> None:
    roll_back(two)
    point_champion(2)
    assert followed(two).state is State.IN_STEP and two.serving() == 2
    assert trail()[-1] == ("promoted", 2, "1")


def test_the_first_release_has_to_pass_the_gates(site: Site) -> None:
    assert followed(site).state is State.NO_CHAMPION and trail() == []
    strict = configured(site, gates=GatesConfig())
    point_champion(1)
    refused = followed(strict)
    assert refused.state is State.REFUSED and "better" in refused.gates[0] and "Nothing serves" in refused.reason
    point_champion(2)
    assert followed(strict).state is State.IN_STEP and site.serving() == 2


def test_a_version_not_registered_by_training_fails_with_an_explanation(two: Site) -> None:
    client = mlflow.MlflowClient()
    source = client.get_model_version(registry.MODEL, "1").source
    number = int(client.create_model_version(registry.MODEL, source).version)
    point_champion(number)
    found = followed(two)
    assert (
        found.state is State.FAILED
        and "was not registered by `rayreel train`" in registry.tags(number)["follow_reason"]
    )
    assert two.serving() == 2 and "refused" not in [event for event, _, _ in trail()]


def test_a_champion_moved_by_the_command_triggers_nothing(two: Site) -> None:
    before = trail()
    assert look(two).state is State.IN_STEP and followed(two).state is State.IN_STEP and trail() == before


def test_a_command_killed_after_its_switch_is_finished_rather_than_undone(two: Site) -> None:
    roll_back(two)
    journal.begin(two.storage, Switch("promoted", 2, 1, 1, "ana", at="2099-01-01T00:00:00.000000+00:00"))
    switch_alias(two.client, two.index.alias, "videos_v2")
    assert followed(two).state is State.IN_STEP
    assert two.serving() == 2 == registry.pointed_at(registry.CHAMPION)
    assert audit.events()[-1]["by"] == "ana" and trail()[-1] == ("promoted", 2, "1")


def test_the_reconciler_waits_while_a_command_promotes_the_version(one: Site) -> None:
    point_champion(2)
    with Lease(one.storage, build_lease(2), "promotes version 2"):
        found = followed(one)
    assert found.state is State.WAITING and "promotes version 2" in found.detail and one.serving() == 1
    assert followed(one).state is State.IN_STEP and one.serving() == 2


def test_an_index_alias_moved_by_hand_is_reported_and_left_alone(two: Site) -> None:
    before = trail()
    switch_alias(two.client, two.index.alias, "videos_v1")
    found = followed(two)
    assert found.state is State.INDEX_MOVED and "was moved to release 1 without a promotion" in found.reason
    assert two.serving() == 1 and registry.pointed_at(registry.CHAMPION) == 2 and trail() == before


def test_a_promotion_after_a_refusal_records_that_it_moved_the_champion(two: Site) -> None:
    point_champion(3)
    followed(two)
    promote(registry.resolve("1"), two, force="back to the first")
    assert audit.events()[-1]["champion_was"] == 3 and trail()[-1] == ("promoted", 1, "2")
    assert followed(two).state is State.IN_STEP


def test_a_forced_promotion_of_a_refused_version_clears_the_refusal(two: Site) -> None:
    point_champion(3)
    followed(two)
    promote(registry.resolve("3"), two, force="a demonstration")
    assert not [tag for tag in registry.tags(3) if tag.startswith("follow")] and followed(two).state is State.IN_STEP


@pytest.mark.parametrize(("wanted", "events"), [(2, ["promoted"]), (3, ["promoted", "refused"])])
def test_only_one_of_several_reconcilers_acts(site: Site, wanted: int, events: list[str]) -> None:
    first = 1 if wanted == 2 else 2
    promote(registry.resolve(str(first)), site)
    point_champion(wanted)
    with ThreadPoolExecutor(3) as pool:
        states = {found.state for found in pool.map(follow, [site] * 3)}
    assert states <= {State.IN_STEP, State.REFUSED, State.WAITING} and states & {State.IN_STEP, State.REFUSED}
    follow(site)
    assert [event for event, _, _ in trail()][1:] == events[:1] * (wanted == 2) + events[1:]


@pytest.fixture
def no_mlflow() -> Iterator[None]:
    before = mlflow.get_tracking_uri()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        address = f"http://127.0.0.1:{free_port()}"
        mlflow.set_tracking_uri(address)
        mlflow.set_registry_uri(address)
        yield
    mlflow.set_tracking_uri(before)
    mlflow.set_registry_uri(before)


def test_an_unreachable_mlflow_changes_nothing(two: Site, no_mlflow: None) -> None:
    with pytest.raises(TrackingUnavailable, match="does not answer"):
        follow(two)
    assert two.serving() == 2
