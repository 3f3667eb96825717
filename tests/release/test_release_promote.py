import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from feature_rows import KEY, clusters_table, feature_row, feature_table
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore, NoFeatures
from rayreel.index.alias import alias_target, collections, switch_alias
from rayreel.index.write import stored_versions
from rayreel.release import audit, journal, registry
from rayreel.release.config import GatesConfig, GoldenQuery
from rayreel.release.gates import PromotionRefused
from rayreel.release.journal import Switch
from rayreel.release.promote import Promotion, check, is_current, promote
from rayreel.release.rows import ReleaseRows
from rayreel.release.site import Candidate, Site
from rayreel.release.snapshot import load_snapshot
from rayreel.tower.config import UserTowerConfig
from rayreel.tower.user import UserTower
from release_site import VIDEOS, good_tower, register, weak_tower

IDS = set(VIDEOS["video_id"].to_pylist())
NOW = "2099-01-01T00:00:00.000000+00:00"  # after what the test does before

KILLED = """
import os, signal, sys
from rayreel.index.config import IndexConfig
from rayreel.index.connect import connect
from rayreel.release import registry
from rayreel.release.config import GatesConfig, ReleaseConfig
from rayreel.release.promote import promote
from rayreel.release.site import Site
from rayreel.storage import Storage
from rayreel.training.tracking import use_tracking
from release_site import EVALUATION, words

root, uri, fatal = sys.argv[1:]
index, storage = IndexConfig(uri=uri, batch_rows=30), Storage(root)
use_tracking(storage)
release = ReleaseConfig(neighbours=8, gates=GatesConfig(baselines="off"))

def on_progress(stage, done):
    if stage == fatal:
        os.kill(os.getpid(), signal.SIGKILL)

site = Site(storage, connect(index, None), index, release, EVALUATION, words)
promote(registry.resolve("1"), site, progress=on_progress)
"""


def promoted(site: Site, version: str, force: str | None = None) -> Promotion:
    return promote(registry.resolve(version), site, force)


def in_the_index(site: Site, version: int) -> dict[str, str]:
    return stored_versions(site.client, f"videos_v{version}", site.index)


def with_golden(site: Site, **query: object) -> Site:
    gates = GatesConfig(baselines="off", golden=(GoldenQuery.model_validate(query),))
    return replace(site, release=site.release.model_copy(update={"gates": gates}))


def test_a_promoted_version_serves_every_video_and_is_recorded_in_the_registry(site: Site) -> None:
    done = promoted(site, "1")
    assert done.previous is None and all(gate.passed for gate in done.gates)
    assert alias_target(site.client, site.index.alias) == "videos_v1" and site.serving() == 1
    assert in_the_index(site, 1) == dict.fromkeys(IDS, "1")
    assert registry.resolve(registry.CHAMPION).number == 1
    (release,) = audit.history()
    assert release.champion and release.promoted_from is None and "@" in release.promoted_by
    assert [gate["name"] for gate in release.gates] == [gate.name for gate in done.gates]
    assert release.metrics["category/ndcg@10"] > 0.4 and release.forced_reason is None


def test_a_release_has_a_snapshot_and_answers_queries(site: Site, tmp_path: Path) -> None:
    promoted(site, "1")
    assert set(load_snapshot(site.storage, 1, tmp_path).ids) == IDS
    index = Candidate(registry.resolve("1"), site).index
    embedding = index.get("v000")
    assert embedding is not None
    hits = index.search(embedding, 5)
    assert len(hits) == 5 and hits[0].category


def test_a_release_has_the_user_tower_of_its_version_and_no_other(site: Site, tmp_path: Path) -> None:
    tower = good_tower()
    tower.users = UserTower.of(UserTowerConfig(width=4), tower.dim, ["v003", "v004"])
    number = register(site.storage, tower, tmp_path / "with_users").number
    promoted(site, "1")
    assert load_snapshot(site.storage, 1, tmp_path).users is None
    promoted(site, str(number))
    served = load_snapshot(site.storage, number, tmp_path).users
    assert served is not None and served.to_bytes() == tower.users.to_bytes()


def test_a_better_version_replaces_the_champion(site: Site) -> None:
    promoted(site, "1")
    done = promoted(site, "2")
    assert (done.previous, site.serving()) == (1, 2)
    assert registry.resolve(registry.CHAMPION).number == 2
    assert next(gate for gate in done.gates if gate.name.endswith("champion")).passed
    assert audit.history()[0].promoted_from == 1 and [release.version for release in audit.history()] == [2, 1]


def test_a_worse_version_is_refused_with_the_difference_and_nothing_changes(site: Site) -> None:
    promoted(site, "2")
    before = audit.events()
    with pytest.raises(PromotionRefused, match=r"category/ndcg@10, better: champion: 0\.\d+, champion 0\.\d+: -0\.\d+"):
        promoted(site, "3")
    assert site.serving() == 2 and registry.resolve(registry.CHAMPION).number == 2
    assert [found.version for found in collections(site.client)] == [2]
    assert audit.events() == before and not ReleaseRows(site.storage, 3).parts()


def test_a_forced_promotion_records_its_reason_and_the_overruled_gates(site: Site) -> None:
    promoted(site, "2")
    promoted(site, "3", force="a demonstration")
    release = audit.history()[0]
    assert site.serving() == 3 and release.forced_reason == "a demonstration"
    assert [gate["name"] for gate in release.gates if not gate["passed"]] == ["category/ndcg@10, better: champion"]
    assert audit.events()[-1]["forced_reason"] == "a demonstration"


def test_an_unneeded_reason_is_not_recorded(site: Site) -> None:
    promoted(site, "2", force="just in case")
    assert audit.history()[0].forced_reason is None


def test_a_version_without_extracted_features_names_what_to_extract(site: Site, tmp_path: Path) -> None:
    stranger = register(site.storage, weak_tower(), tmp_path / "stranger", "another+net+key-0123")
    with pytest.raises(NoFeatures, match="another"):
        promote(stranger, site, force="please")


def test_golden_queries_by_text_and_by_video_run_before_the_switch(site: Site) -> None:
    site = with_golden(site, text="c1", expect_category="c1", top_k=10, at_least=6)
    assert next(gate for gate in promoted(site, "2").gates if "golden" in gate.name).passed
    with pytest.raises(
        PromotionRefused, match=r"golden query 'c1'.*\n?.*of the first 10 as expected, at least 6 required"
    ):
        promoted(with_golden(site, text="c1", expect_category="c2", top_k=10, at_least=6), "2")
    with_query = with_golden(site, video_id="v001", expect_ids=["v001"])
    with pytest.raises(PromotionRefused, match="0 of the first 10"):  # never the video itself
        promoted(with_query, "2")


def test_a_failed_golden_query_keeps_the_champion_and_can_be_overruled(site: Site) -> None:
    promoted(site, "1")
    with_query = with_golden(site, text="c1", expect_category="no such category")
    with pytest.raises(PromotionRefused, match="golden"):
        promoted(with_query, "2")
    assert site.serving() == 1
    promoted(with_query, "2", force="that category comes next week")
    assert site.serving() == 2


@pytest.mark.parametrize(
    "stage",
    [pytest.param("embedding", marks=pytest.mark.slow), "indexing", pytest.param("snapshot", marks=pytest.mark.slow)],
)
def test_a_killed_promotion_continues_and_ends_like_an_undisturbed_one(site: Site, stage: str, tmp_path: Path) -> None:
    words = [sys.executable, "-c", KILLED, site.storage.root, site.client._config.uri, stage]
    killed = subprocess.run(words, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert site.serving() is None and not audit.history()
    done = promoted(site, "1")
    assert all(gate.passed for gate in done.gates) and site.serving() == 1
    assert in_the_index(site, 1) == ReleaseRows(site.storage, 1).current() == dict.fromkeys(IDS, "1")
    assert set(load_snapshot(site.storage, 1, tmp_path).ids) == IDS
    assert len(audit.events()) == 1


def test_a_switch_killed_before_the_registry_update_is_finished(site: Site) -> None:
    promoted(site, "1")
    judged = check(registry.resolve("2"), site)
    promote(registry.resolve("2"), replace(site, index=site.index.model_copy(update={"alias": "elsewhere"})))
    registry.crown(1)
    journal.begin(site.storage, Switch("promoted", 2, 1, 1, "ana", at=NOW, metrics=judged.metrics))
    switch_alias(site.client, site.index.alias, "videos_v2")
    done = promoted(site, "2")
    assert done.previous == 2 and site.serving() == 2
    assert registry.resolve(registry.CHAMPION).number == 2 and audit.history()[0].promoted_from == 1


def test_videos_added_and_deleted_during_a_build_are_in_the_release(site: Site) -> None:
    store = FeatureStore(site.storage, KEY)

    def meanwhile(stage: str, _done: int) -> None:
        if stage == "snapshot":
            store.add(feature_table(feature_row("late", category="c1")), QUARANTINE.empty_table())
            store.set_catalog([(video_id, "1") for video_id in sorted(IDS - {"v000"} | {"late"})])

    promote(registry.resolve("1"), site, progress=meanwhile)
    assert set(in_the_index(site, 1)) == IDS - {"v000"} | {"late"}


def test_promoting_the_serving_version_updates_its_index_without_quality_gates(site: Site) -> None:
    promoted(site, "1")
    assert is_current(registry.resolve("1"), site) and not is_current(registry.resolve("2"), site)
    store = FeatureStore(site.storage, KEY)
    store.set_catalog([(video_id, "1") for video_id in sorted(IDS - {"v000"})])
    assert not is_current(registry.resolve("1"), site)
    done = promoted(site, "1")
    assert done.previous == 1 and not [gate for gate in done.gates if gate.quality]
    assert set(in_the_index(site, 1)) == IDS - {"v000"} and is_current(registry.resolve("1"), site)
    assert len(audit.events()) == 1


def test_a_lost_index_is_rebuilt_and_the_trail_is_kept(site: Site) -> None:
    promoted(site, "1")
    promoted(site, "2")
    site.client.drop_alias(site.index.alias)
    for found in collections(site.client):
        site.client.drop_collection(found.name)
    promoted(site, "2")
    assert site.serving() == 2 and set(in_the_index(site, 2)) == IDS
    assert audit.history()[0].promoted_from == 1


def test_a_video_that_the_tower_cannot_read_is_reported_and_does_not_block_promotion(site: Site) -> None:
    store = FeatureStore(site.storage, KEY)
    mute = clusters_table(1, 1).slice(0, 1).to_pylist()[0] | {"video_id": "mute", "audio": None}
    store.add(feature_table(mute), QUARANTINE.empty_table())
    store.set_catalog([(video_id, "1") for video_id in sorted(IDS | {"mute"})])
    rows = next(gate for gate in promoted(site, "1").gates if gate.name == "rows")
    assert rows.passed and rows.finding == "100 rows of 101 feature rows; 1 without a modality that the tower reads"
