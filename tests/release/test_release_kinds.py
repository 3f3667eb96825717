"""Releases of every kind serve alike, and each replaces the others through the gates."""

from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest

from feature_rows import DIMS
from rayreel.encoders.encoder import Modality
from rayreel.features.matrix import FeatureMatrix
from rayreel.release import registry
from rayreel.release.config import GatesConfig, GoldenQuery
from rayreel.release.gates import PromotionRefused
from rayreel.release.promote import check, promote
from rayreel.release.registry import Version
from rayreel.release.rollback import roll_back
from rayreel.release.site import Candidate, Site
from rayreel.release.snapshot import load_snapshot
from rayreel.storage import Storage
from rayreel.tower.config import FrozenConfig, Smoothing
from rayreel.tower.embed import embed
from rayreel.tower.frozen import FrozenFeatures
from rayreel.tower.probe import ProbedFeatures
from rayreel.tower.smoothing import smoothed
from release_site import VIDEOS, register

MATRIX = FeatureMatrix.from_table(VIDEOS)
IDS = MATRIX.column("video_id")


def frozen_features() -> FrozenFeatures:
    frozen = FrozenFeatures(FrozenConfig(), DIMS)
    frozen.fit_inputs({modality: ragged.values.copy() for modality, ragged in MATRIX.vectors.items()})
    return frozen


@pytest.fixture
def frozen(storage: Storage, tmp_path: Path) -> Version:
    """A version of frozen features, registered after the towers 1 to 3 (weak, good, weak)."""
    return register(storage, frozen_features(), tmp_path / "frozen")


def test_the_registry_names_the_kind_of_every_version(frozen: Version) -> None:
    assert [registry.tags(number)["kind"] for number in (1, frozen.number)] == ["tower", "frozen"]
    assert isinstance(registry.load(frozen), FrozenFeatures)


def test_mlflow_loads_frozen_features_like_a_tower(frozen: Version) -> None:
    model = mlflow.pyfunc.load_model(frozen.uri)
    assert np.linalg.norm(model.predict(model.input_example)[0]) == pytest.approx(1, abs=1e-5)


def test_frozen_features_are_promoted_searched_and_rolled_back(site: Site, frozen: Version, tmp_path: Path) -> None:
    gates = GatesConfig(baselines="off", golden=(GoldenQuery(text="c1", expect_category="c1", at_least=5),))
    promote(registry.resolve("1"), site)
    done = promote(frozen, replace(site, release=site.release.model_copy(update={"gates": gates})))
    assert done.previous == 1 and all(gate.passed for gate in done.gates)
    embeddings_ND, snapshot = embed(frozen_features(), MATRIX), load_snapshot(site.storage, frozen.number, tmp_path)
    np.testing.assert_allclose(snapshot.embeddings_ND, embeddings_ND, atol=1e-6)
    exact = [IDS[row] for row in np.argsort(-(embeddings_ND @ embeddings_ND[7]), kind="stable")[1:6]]
    hits = Candidate(frozen, site).index.search(embeddings_ND[7], 5, [IDS[7]])
    assert [hit.video_id for hit in hits] == exact
    assert roll_back(site).version.number == 1 and site.serving() == 1


def test_a_better_tower_replaces_frozen_features_and_a_worse_one_does_not(site: Site, frozen: Version) -> None:
    promote(frozen, site)
    with pytest.raises(PromotionRefused, match="category/ndcg@10, better: champion"):
        promote(registry.resolve("3"), site)
    assert site.serving() == frozen.number
    assert promote(registry.resolve("2"), site).previous == frozen.number
    with pytest.raises(PromotionRefused, match="category/ndcg@10, better: champion"):
        promote(frozen, site)


def test_a_smoothed_release_is_promoted_and_serves_averaged_vectors(
    site: Site, frozen: Version, tmp_path: Path
) -> None:
    smoothing = Smoothing(neighbours=3, alpha=1)
    site = replace(site, release=site.release.model_copy(update={"smoothing": smoothing}))
    promote(frozen, site)
    candidate, snapshot = Candidate(frozen, site), load_snapshot(site.storage, frozen.number, tmp_path)
    expected_ND = smoothed(embed(frozen_features(), MATRIX), smoothing)
    np.testing.assert_allclose(snapshot.embeddings_ND, expected_ND, atol=1e-5)
    in_index = candidate.index.vectors(IDS)
    np.testing.assert_allclose([in_index[video_id] for video_id in IDS], expected_ND, atol=1e-5)
    assert candidate.rows.smoothing() == smoothing


def test_the_gates_measure_the_averaged_vectors(site: Site, frozen: Version) -> None:
    own = check(frozen, site).metrics
    averaged = check(
        frozen, replace(site, release=site.release.model_copy(update={"smoothing": Smoothing(neighbours=3)}))
    )
    assert averaged.metrics["category/ndcg@10"] > own["category/ndcg@10"]


def test_a_version_is_averaged_as_it_was_registered_unless_that_is_off(storage: Storage, tmp_path: Path) -> None:
    features = frozen_features()
    features.smoothing = Smoothing(neighbours=3)
    version = register(storage, features, tmp_path / "averaged")
    assert registry.load(version).smoothing == Smoothing(neighbours=3)
    assert registry.load(version, "off").smoothing == Smoothing()
    assert registry.tags(version.number)["smoothing"] == "3 nearest, alpha 0"


def test_features_beside_a_classifier_replace_features_alone(
    site: Site, storage: Storage, frozen: Version, tmp_path: Path
) -> None:
    features, known = frozen_features(), np.arange(0, len(MATRIX), 3)
    categories_N = np.array(MATRIX.column("category"))
    probe = ProbedFeatures.fitted(features, embed(features, MATRIX)[known], categories_N[known])
    version = register(storage, probe, tmp_path / "probe")
    promote(frozen, site)
    gates = GatesConfig(
        champion="not_worse", baselines="off", golden=(GoldenQuery(text="c1", expect_category="c1", at_least=5),)
    )
    done = promote(version, replace(site, release=site.release.model_copy(update={"gates": gates})))
    assert done.previous == frozen.number and site.serving() == version.number
    assert registry.tags(version.number)["kind"] == "probe"


def test_a_single_modality_of_a_frozen_release_is_the_encoders_own_cosine(storage: Storage, tmp_path: Path) -> None:
    config = FrozenConfig(visual=1, audio=0, text=0, standardise=False)
    version = register(storage, FrozenFeatures(config, DIMS), tmp_path / "visual")
    assert embed(registry.load(version), MATRIX).shape == (len(MATRIX), DIMS[Modality.VISUAL])
