"""Frozen features beside the scores of a classifier."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

from feature_rows import DIMS, clusters, feature_matrix, feature_row
from rayreel.encoders.encoder import Modality
from rayreel.tower.config import FrozenConfig
from rayreel.tower.embed import embed, embed_query
from rayreel.tower.frozen import FrozenFeatures
from rayreel.tower.probe import INVERSE_REGULARISATION, ProbedFeatures
from rayreel.tower.save import load_tower, save_tower

MATRIX = clusters()
NAMES = np.array(MATRIX.column("category"))
KNOWN = np.arange(0, len(MATRIX), 3)


def features() -> FrozenFeatures:
    frozen = FrozenFeatures(FrozenConfig(), DIMS)
    frozen.fit_inputs({modality: ragged.values.copy() for modality, ragged in MATRIX.vectors.items()})
    return frozen


def fitted(names_N: np.ndarray = NAMES) -> ProbedFeatures:
    return ProbedFeatures.fitted(features(), embed(features(), MATRIX)[KNOWN], names_N[KNOWN])


@pytest.mark.parametrize("names_N", [NAMES, np.where(NAMES[0] == NAMES, "a", "b")], ids=["many", "two"])
def test_both_parts_have_half_of_the_length_and_the_second_the_classifiers_log_probabilities(
    names_N: np.ndarray,
) -> None:
    unit_ND = embed(features(), MATRIX)
    regression = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=1000).fit(unit_ND[KNOWN], names_N[KNOWN])
    log_NC = regression.predict_log_proba(unit_ND)
    scores_NC = normalize(log_NC - log_NC.mean(axis=1, keepdims=True))
    probe = fitted(names_N)
    expected_ND = np.concatenate([unit_ND, scores_NC], axis=1) / np.sqrt(2)
    np.testing.assert_allclose(embed(probe, MATRIX), expected_ND, atol=1e-4)
    assert probe.dim == expected_ND.shape[1] and probe.config.categories == tuple(np.unique(names_N))


def test_a_loaded_one_gives_identical_embeddings(tmp_path: Path) -> None:
    save_tower(saved := fitted(), tmp_path)
    loaded = load_tower(tmp_path)
    np.testing.assert_array_equal(embed(loaded, MATRIX), embed(saved, MATRIX))
    assert loaded.config == saved.config
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tower.json", "tower.safetensors"]


def test_any_modality_alone_is_a_query_and_a_video_without_one_stays_zero() -> None:
    text = {Modality.TEXT: np.ones((1, DIMS[Modality.TEXT]), np.float32)}
    assert np.linalg.norm(embed_query(fitted(), text)) == pytest.approx(1, abs=1e-5)
    nothing = feature_matrix(feature_row("a", frames=0, windows=0, text=False))
    assert not embed(fitted(), nothing).any()
