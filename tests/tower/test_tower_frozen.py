"""Frozen features: what they compute, for videos and for queries with any modalities."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from feature_rows import DIMS, clusters, feature_matrix, feature_row
from rayreel.encoders.encoder import Modality
from rayreel.evaluation.content import POOLED_WEIGHTS, pooled
from rayreel.features.matrix import FeatureMatrix
from rayreel.tower.config import FrozenConfig
from rayreel.tower.embed import EmptyQuery, embed, embed_query
from rayreel.tower.frozen import FrozenFeatures
from rayreel.tower.save import load_tower, save_tower

WEIGHTS = {Modality.VISUAL: 0.4, Modality.AUDIO: 0.1, Modality.TEXT: 0.5}
TRAINING = clusters(each=10)
MATRIX = feature_matrix(
    feature_row("whole", frames=4),
    feature_row("silent", windows=0),
    feature_row("sound", frames=0, text=False),
    feature_row("film", text=False),
)


def fitted(**changed: object) -> FrozenFeatures:
    frozen = FrozenFeatures(FrozenConfig.model_validate({m.value: w for m, w in WEIGHTS.items()} | changed), DIMS)
    frozen.fit_inputs({modality: ragged.values.copy() for modality, ragged in TRAINING.vectors.items()})
    return frozen


def in_numpy(matrix: FeatureMatrix) -> np.ndarray:
    """The same embeddings, video by video."""
    videos = []
    for row in range(len(matrix)):
        parts = []
        for modality, weight in WEIGHTS.items():
            seen_ND = TRAINING.vectors[modality].values.astype(np.float64)
            own_nD = matrix.vectors[modality].of(np.array([row])).astype(np.float64)
            x_nD = np.clip((own_nD - seen_ND.mean(axis=0)) / seen_ND.std(axis=0), -10, 10)
            mean_D = x_nD.mean(axis=0) if len(x_nD) else np.zeros(DIMS[modality])
            parts.append(np.sqrt(weight) * mean_D / max(np.linalg.norm(mean_D), 1e-12))
        whole_D = np.concatenate(parts)
        videos.append(whole_D / np.linalg.norm(whole_D))
    return np.stack(videos)


def test_embeddings_are_the_weighted_unit_means_of_standardised_features() -> None:
    np.testing.assert_allclose(embed(fitted(), MATRIX), in_numpy(MATRIX), atol=1e-5)


def test_between_videos_with_the_same_modalities_it_is_the_weighted_mean_of_the_cosines() -> None:
    alike = feature_matrix(feature_row("a"), feature_row("b"))
    cosines = {m: embed(fitted(), alike.with_modalities([m])) for m in Modality}
    expected = sum(WEIGHTS[m] * float(z_ND[0] @ z_ND[1]) for m, z_ND in cosines.items())
    one_D, other_D = embed(fitted(), alike)
    assert one_D @ other_D == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("modality", Modality)
def test_a_query_of_one_modality_ranks_by_the_cosine_of_that_modality(modality: Modality) -> None:
    frozen, videos = fitted(), clusters(each=5)
    query_D = embed_query(frozen, {modality: MATRIX.vectors[modality].values[:1].astype(np.float32)})
    alone_ND = embed(frozen, videos.with_modalities([modality]))
    np.testing.assert_allclose(
        embed(frozen, videos) @ query_D, np.sqrt(WEIGHTS[modality]) * alone_ND @ query_D, atol=1e-5
    )


def test_a_modality_without_weight_is_neither_read_nor_stored() -> None:
    frozen = fitted(audio=0)
    assert frozen.dim == DIMS[Modality.VISUAL] + DIMS[Modality.TEXT]
    assert frozen.modalities == (Modality.VISUAL, Modality.TEXT)
    assert not embed(frozen, MATRIX)[2].any()  # has sound only
    with pytest.raises(EmptyQuery, match="visual, text"):
        embed_query(frozen, {Modality.AUDIO: np.ones((1, DIMS[Modality.AUDIO]), np.float32)})


def test_without_standardising_it_is_the_cosine_of_mean_pooled_features() -> None:
    frozen = fitted(standardise=False, audio=0, **{m.value: weight for m, weight in POOLED_WEIGHTS.items()})
    rows = feature_matrix(feature_row("a"), feature_row("b"), feature_row("c"))
    np.testing.assert_allclose(embed(frozen, rows), pooled(rows, POOLED_WEIGHTS), atol=1e-5)


@pytest.mark.parametrize("standardise", [True, False])
def test_saved_and_loaded_it_is_the_same(tmp_path: Path, standardise: bool) -> None:
    save_tower(saved := fitted(standardise=standardise), tmp_path)
    loaded = load_tower(tmp_path)
    assert isinstance(loaded, FrozenFeatures) and loaded.config == saved.config and loaded.dim == saved.dim
    np.testing.assert_array_equal(embed(loaded, MATRIX), embed(saved, MATRIX))


def test_a_weight_is_required() -> None:
    with pytest.raises(ValidationError, match="Set one of frozen"):
        FrozenConfig(visual=0, audio=0, text=0)
