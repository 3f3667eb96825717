import pickle

import pyarrow as pa
import pytest

from feature_rows import KEY
from rayreel.encoders.encoder import Modality
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore
from rayreel.release.gates import PromotionRefused, ReleaseGate, pass_through, trust
from rayreel.release.registry import Version
from rayreel.storage import Storage
from release_site import VIDEOS

VERSION = Version(7, "run", str(KEY), "f", "t")
SOUND = ReleaseGate("rows", True, "100 rows of 100 feature rows")
WEAK = ReleaseGate("category/ndcg@10, better: champion", False, "0.5, champion 0.6: -0.100", quality=True)
BROKEN = ReleaseGate("index rows", False, "3 missing")


def test_a_version_passes_if_all_gates_pass() -> None:
    pass_through(VERSION, [SOUND])


def test_a_refusal_names_failed_gates_their_findings_and_the_remedy() -> None:
    with pytest.raises(PromotionRefused) as refused:
        pass_through(VERSION, [SOUND, WEAK, BROKEN])
    message = str(refused.value)
    assert "Version 7 is refused by 2 of 3 gates" in message
    assert f"{WEAK.name}: {WEAK.finding}" in message and f"{BROKEN.name}: {BROKEN.finding}" in message
    assert "- rows:" not in message and "--force" in message
    assert refused.value.gates == [SOUND, WEAK, BROKEN]


def test_a_reason_overrules_only_quality_gates() -> None:
    pass_through(VERSION, [SOUND, WEAK], force="first tower with sound")
    with pytest.raises(PromotionRefused, match="--force does not overrule index rows"):
        pass_through(VERSION, [WEAK, BROKEN], force="first tower with sound")


def test_a_refusal_can_be_pickled_with_its_gates() -> None:
    refused = pickle.loads(pickle.dumps(PromotionRefused("no", [WEAK])))
    assert str(refused) == "no" and refused.gates == [WEAK]


def store_with(storage: Storage, visual: str) -> FeatureStore:
    """The same rows with the key of another visual encoder."""
    key = KEY.model_copy(update={"identities": {**KEY.identities, Modality.VISUAL: visual}})
    store = FeatureStore(storage, key)
    keys = pa.array([str(key)] * VIDEOS.num_rows)
    place = VIDEOS.column_names.index("encoder_key")
    store.add(VIDEOS.set_column(place, "encoder_key", keys), QUARANTINE.empty_table())
    return store


def keys_in(store: FeatureStore) -> set[str]:
    return set(store.read(["encoder_key"])["encoder_key"].to_pylist())


def test_tower_features_and_queries_of_the_same_trained_encoders_are_trusted(storage: Storage) -> None:
    assert [gate.passed for gate in trust(VERSION, KEY, keys_in(FeatureStore(storage, KEY)), str(KEY))] == [True, True]


def test_features_of_other_encoders_fail_a_gate_that_force_cannot_overrule(storage: Storage) -> None:
    store = store_with(storage, "other@0123")
    gate = trust(VERSION, store.key, keys_in(store))[0]
    assert not gate.passed and not gate.quality and str(store.key) in gate.finding


def test_queries_with_other_encoders_fail_a_gate_that_force_cannot_overrule(storage: Storage) -> None:
    gate = trust(VERSION, KEY, keys_in(FeatureStore(storage, KEY)), "another+net+key-0123")[0]
    assert not gate.passed and not gate.quality and "another+net+key-0123" in gate.finding


def test_random_encoders_fail_a_gate_that_force_cannot_overrule(storage: Storage) -> None:
    store = store_with(storage, "visual_net@random0")
    gates = trust(Version(7, "run", str(store.key), "f", "t"), store.key, keys_in(store))
    assert gates[0].passed and not gates[1].passed and not gates[1].quality
