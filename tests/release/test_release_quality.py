import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from feature_rows import DIMS, KEY, feature_row, feature_table
from rayreel.encoders.encoder import Modality
from rayreel.evaluation.frozen import AVERAGED, PROBE
from rayreel.features.key import EncoderKey
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore, open_store
from rayreel.release import registry
from rayreel.release.config import GatesConfig
from rayreel.release.gates import ReleaseGate
from rayreel.release.quality import Judgement, Jury, UnknownMetric, judge
from rayreel.release.registry import Version
from rayreel.storage import Storage
from rayreel.tower.config import FrozenConfig
from rayreel.tower.frozen import FrozenFeatures
from release_site import EVALUATION, VIDEOS, good_tower, register


@pytest.fixture
def jury(storage: Storage) -> Jury:
    return Jury(storage, EVALUATION, GatesConfig())


def of(gates: list[ReleaseGate], name: str) -> ReleaseGate:
    return next(gate for gate in gates if gate.name.endswith(f": {name}"))


def judged(jury: Jury, version: str, before: str | None, **gates: object) -> list[ReleaseGate]:
    rules = GatesConfig.model_validate(gates)
    previous = registry.resolve(before) if before else None
    return judgement(version, previous, replace(jury, gates=rules)).gates


def judgement(name: str, champion: Version | None, jury: Jury) -> Judgement:
    version = registry.resolve(name)
    return judge(version, champion, jury, open_store(jury.storage, version.encoder_key))


def test_a_better_tower_passes_all_gates(jury: Jury) -> None:
    gates = judged(jury, "2", "1")
    assert all(gate.passed for gate in gates), gates
    assert {gate.name.rpartition(": ")[2] for gate in gates} >= {"champion", "random", "text alone", "untrained tower"}
    assert all(gate.quality for gate in gates)


def test_a_worse_tower_fails_with_difference_and_p_value(jury: Jury) -> None:
    gate = of(judged(jury, "3", "2"), "champion")
    assert not gate.passed and "category/ndcg@10" in gate.name
    assert "-0." in gate.finding and ", p 0.0" in gate.finding and "requires a lead with p < 0.05" in gate.finding


def test_a_tower_equal_to_the_champion_is_neither_better_nor_worse(jury: Jury) -> None:
    assert not of(judged(jury, "3", "1"), "champion").passed
    assert of(judged(jury, "3", "1", champion="not_worse"), "champion").passed
    assert not of(judged(jury, "3", "2", champion="not_worse"), "champion").passed


def test_a_weak_tower_fails_the_baselines_that_it_is_not_above(jury: Jury) -> None:
    gates = judged(jury, "1", None)
    assert not of(gates, "mean-pooled .7 vis .3 txt").passed and of(gates, "random").passed
    assert not [gate for gate in gates if gate.name.endswith("champion")]


def test_gates_can_be_switched_off(jury: Jury) -> None:
    assert judged(jury, "3", "2", champion="off", baselines="off") == []


def test_every_named_metric_has_a_gate(jury: Jury) -> None:
    gates = judged(jury, "2", "1", metrics=["recall@10", "category/ndcg@1"], baselines="off")
    assert [gate.name.partition(",")[0] for gate in gates] == ["category/recall@10", "category/ndcg@1"]
    with pytest.raises(UnknownMetric, match=r"users/ndcg@10.*category/ndcg@10"):
        judged(jury, "2", "1", metrics=["users/ndcg@10"])


def test_the_towers_own_metrics_are_returned(jury: Jury) -> None:
    metrics = judgement("2", None, jury).metrics
    assert metrics["category/ndcg@10"] > 0.7 and json.loads(json.dumps(metrics)) == metrics


def test_a_champion_with_other_encoders_is_evaluated_on_its_own_features(
    jury: Jury, storage: Storage, tmp_path: Path
) -> None:
    other = KEY.model_copy(update={"identities": {**KEY.identities, Modality.VISUAL: "other_net@0123456789ab+crop"}})
    champion = register(storage, good_tower(), tmp_path / "other", str(other))
    without = of_champion(judgement("3", champion, jury).gates)
    assert not without.passed and without.quality and "cannot be compared" in without.finding
    store = FeatureStore(storage, other)
    store.create()
    store.add(VIDEOS.slice(10), QUARANTINE.empty_table())
    beside = of_champion(judgement("3", champion, jury).gates)
    assert not beside.passed and "champion 0.9" in beside.finding
    assert "+0.000 [+0.000, +0.000]" in of_champion(judgement("2", champion, jury).gates).finding


def of_champion(gates: list[ReleaseGate]) -> ReleaseGate:
    return next(gate for gate in gates if gate.name.endswith("champion"))


def replace_videos(storage: Storage, table: pa.Table, key: EncoderKey = KEY) -> None:
    """Make these rows, without their categories, the catalog's only ones."""
    store = FeatureStore(storage, key)
    store.create()
    for column, value in (("category", ""), ("version", "2")):
        table = table.set_column(table.column_names.index(column), column, [[value] * len(table)])
    store.add(table, QUARANTINE.empty_table())
    store.set_catalog([(video_id, "2") for video_id in table["video_id"].to_pylist()])


def test_a_tower_without_labels_is_judged_by_view_retrieval_with_the_same_evidence(
    jury: Jury, storage: Storage
) -> None:
    replace_videos(storage, VIDEOS)
    gates = judgement("1", None, jury).gates  # untrained itself
    assert gates and all(gate.name.startswith("views/ndcg@10, better: ") for gate in gates)
    gate = of(gates, "untrained tower")
    assert not gate.passed and "+0.000" in gate.finding and "requires a lead with p < 0.05" in gate.finding


def test_a_lead_over_a_baseline_that_may_be_chance_is_not_enough(jury: Jury) -> None:
    by_rule = {rule: of(judged(jury, "1", None, baselines=rule), "random") for rule in ("above", "better")}
    assert by_rule["above"].passed and by_rule["better"].passed
    strict = of(judged(jury, "1", None, alpha=0.001), "random")
    assert not strict.passed and "requires a lead with p < 0.001" in strict.finding


def test_a_tower_must_not_lose_to_a_few_lines_with_the_same_information(jury: Jury) -> None:
    names = {gate.name for gate in judged(jury, "2", None)}
    assert f"category/ndcg@10, not worse: {AVERAGED}" in names
    assert f"category/ndcg@10, not worse: {PROBE}" in names


def test_frozen_features_need_no_lead_over_what_is_as_simple(jury: Jury, storage: Storage, tmp_path: Path) -> None:
    frozen = FrozenFeatures(FrozenConfig(), dict(DIMS))
    frozen.fit_inputs({m: ragged.values.copy() for m, ragged in FeatureMatrix.from_table(VIDEOS).vectors.items()})
    version = register(storage, frozen, tmp_path / "frozen", str(KEY))
    gates = judgement(str(version.number), None, jury).gates
    assert gates and all("not worse: " in gate.name for gate in gates)
    assert not [gate for gate in gates if "frozen" in gate.name or "untrained" in gate.name]


def test_view_retrieval_does_not_compare_with_a_champion_of_other_encoders(
    jury: Jury, storage: Storage, tmp_path: Path
) -> None:
    replace_videos(storage, VIDEOS)
    other = KEY.model_copy(update={"identities": {**KEY.identities, Modality.VISUAL: "other_net@0123456789ab+crop"}})
    champion = register(storage, good_tower(), tmp_path / "other", str(other))
    replace_videos(storage, VIDEOS, other)
    gate = of_champion(judgement("3", champion, jury).gates)
    assert not gate.passed and gate.quality and "reads other features" in gate.finding


def test_a_catalog_that_cannot_be_evaluated_fails_with_the_reason(jury: Jury, storage: Storage) -> None:
    alike = feature_table(*(feature_row(f"v{n}", frames=1, windows=1) for n in range(20)))
    replace_videos(storage, alike)
    (gate,) = judgement("2", None, jury).gates
    assert not gate.passed and gate.quality and "Nothing to evaluate" in gate.finding


def test_the_p_value_against_the_champion_does_not_depend_on_the_number_of_baselines(jury: Jury) -> None:
    # The smallest p with 500 resamples is 0.002; Holm correction over all methods would make it 0.02.
    assert "p 0.002" in of(judged(jury, "2", "1"), "champion").finding
