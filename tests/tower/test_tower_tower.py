from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from feature_rows import DIMS, feature_matrix, feature_row
from layers import linear, sequential
from rayreel.encoders.encoder import Modality
from rayreel.tower.batch import FeatureBatch
from rayreel.tower.config import TowerConfig
from rayreel.tower.embed import collate
from rayreel.tower.tower import VideoTower, masked_max, masked_mean

DIM = 16


SHAPES: list[dict[str, Any]] = [
    {},
    {"fusion": "concat"},
    {"fusion": "attention"},
    {"pooling": "max"},
    {"pooling": "attention"},
    {"pooling": "attention", "fusion": "attention", "projection": 8},
    {"pooling": "max", "fusion": "concat", "projection": 24},
]


def trained(**shape: Any) -> VideoTower:  # noqa: ANN401
    """A tower as after training: an untrained fusion ignores its input and would hide mistakes."""
    torch.manual_seed(0)
    tower = VideoTower(TowerConfig(dim=DIM, gate_hidden=8, **shape), DIMS)
    for parameter in [*tower.fusion.parameters(), *tower.pool.parameters()]:
        torch.nn.init.normal_(parameter, std=0.5)
    return tower.eval()


@pytest.fixture(params=SHAPES, ids=lambda shape: " ".join(map(str, shape.values())) or "defaults")
def tower(request: pytest.FixtureRequest) -> VideoTower:
    return trained(**request.param)


@pytest.fixture
def batch() -> FeatureBatch:
    """Four videos of different lengths: complete, without audio, without text, with audio only."""
    matrix = feature_matrix(
        feature_row("whole", frames=5, windows=3),
        feature_row("silent", frames=2, windows=0),
        feature_row("untitled", frames=1, windows=1, text=False),
        feature_row("sound", frames=0, windows=4, text=False),
    )
    return collate(matrix, np.arange(4))


def alone(batch: FeatureBatch, modality: Modality) -> FeatureBatch:
    return FeatureBatch(batch.vectors, {m: mask & (m is modality) for m, mask in batch.mask.items()})


def test_embeddings_have_unit_length(tower: VideoTower, batch: FeatureBatch) -> None:
    z = tower(batch)
    assert z.shape == (4, DIM)
    torch.testing.assert_close(z.norm(dim=1), torch.ones(4))


def test_every_single_modality_gives_a_unit_embedding(tower: VideoTower, batch: FeatureBatch) -> None:
    embeddings = [tower(alone(batch, modality))[0] for modality in Modality]
    for z in embeddings:
        torch.testing.assert_close(z.norm(), torch.tensor(1.0))
    assert not torch.allclose(embeddings[0], embeddings[1])
    assert not torch.allclose(embeddings[0], embeddings[2])


def test_masked_values_never_change_an_embedding(tower: VideoTower, batch: FeatureBatch) -> None:
    noisy = {
        m: torch.where(batch.mask[m].unsqueeze(-1), x, 100 * torch.randn_like(x)) for m, x in batch.vectors.items()
    }
    torch.testing.assert_close(tower(FeatureBatch(noisy, batch.mask)), tower(batch))


def test_padding_never_changes_an_embedding(tower: VideoTower) -> None:
    rows = [feature_row("a", frames=2, windows=0), feature_row("b", frames=9, windows=7), feature_row("c", frames=1)]
    matrix = feature_matrix(*rows)
    together = tower(collate(matrix, np.arange(3)))
    for n in range(3):
        torch.testing.assert_close(tower(collate(matrix, np.array([n])))[0], together[n])


def test_every_valid_vector_changes_the_embedding(tower: VideoTower, batch: FeatureBatch) -> None:
    changed = {m: x.clone() for m, x in batch.vectors.items()}
    changed[Modality.VISUAL][0, 4] += torch.randn(DIMS[Modality.VISUAL])
    z, moved = tower(batch), tower(FeatureBatch(changed, batch.mask))
    assert not torch.allclose(z[0], moved[0])
    torch.testing.assert_close(z[1:], moved[1:])


def test_gradients_are_finite_with_absent_modalities_and_padding(tower: VideoTower, batch: FeatureBatch) -> None:
    tower.train()(batch)[:, 0].sum().backward()
    for name, parameter in tower.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # Pooling a single text vector has no gradient.
        assert parameter.grad.any() or name.startswith("pool.text"), name


def test_a_modality_that_no_video_of_a_batch_has_gets_a_zero_gradient(tower: VideoTower, batch: FeatureBatch) -> None:
    seen = FeatureBatch({m: x[:3] for m, x in batch.vectors.items()}, {m: x[:3] for m, x in batch.mask.items()})
    tower(alone(seen, Modality.VISUAL))[:, 0].sum().backward()
    for parameter in tower.project[Modality.TEXT.value].parameters():
        assert parameter.grad is not None
        assert (parameter.grad == 0).all()


def test_dropout_is_active_in_training_only(tower: VideoTower, batch: FeatureBatch) -> None:
    torch.testing.assert_close(tower.eval()(batch), tower(batch), atol=0, rtol=0)
    tower.train()
    assert not torch.allclose(tower(batch), tower(batch))


@pytest.mark.parametrize("fusion", ["gated", "concat", "attention"])
def test_mean_pooling_before_the_projection_equals_pooling_after_it(fusion: str, batch: FeatureBatch) -> None:
    tower = trained(fusion=fusion)
    projected = {m: tower.project[m.value](batch.vectors[m]) for m in Modality}
    pooled = [F.normalize(masked_mean(projected[m], batch.mask[m]), dim=-1) for m in Modality]
    expected = F.normalize(tower.fusion(torch.stack(pooled, dim=1), batch.present_BM()), dim=-1)
    torch.testing.assert_close(tower(batch), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("pooling", ["max", "attention"])
def test_max_and_attention_pooling_apply_to_projected_frames(pooling: str, batch: FeatureBatch) -> None:
    tower = trained(pooling=pooling)
    projected = {m: tower.project[m.value](batch.vectors[m]) for m in Modality}
    pools = {m: masked_max if pooling == "max" else tower.pool[m.value] for m in Modality}
    pooled = [F.normalize(pools[m](projected[m], batch.mask[m]), dim=-1) for m in Modality]
    expected = F.normalize(tower.fusion(torch.stack(pooled, dim=1), batch.present_BM()), dim=-1)
    torch.testing.assert_close(tower(batch), expected, atol=1e-5, rtol=0)


def test_untrained_towers_with_mean_or_attention_pooling_give_equal_embeddings_for_all_fusions(
    batch: FeatureBatch,
) -> None:
    embeddings = []
    for shape in ({}, {"fusion": "concat"}, {"fusion": "attention"}, {"pooling": "attention"}):
        torch.manual_seed(0)
        embeddings.append(VideoTower(TowerConfig(dim=DIM, **shape), DIMS).eval())
    first, *others = embeddings
    for other in others:
        other.project.load_state_dict(first.project.state_dict())
        torch.testing.assert_close(other(batch), first(batch), atol=1e-6, rtol=0)


def test_the_embedding_dimension_does_not_depend_on_the_projection_width(batch: FeatureBatch) -> None:
    for projection in (8, 16, 24):
        tower = trained(projection=projection)
        assert tower(batch).shape == (4, DIM)
        assert linear(sequential(tower.project[Modality.TEXT.value])[-1]).out_features == projection


def test_embeddings_are_float32_of_unit_length_inside_autocast(tower: VideoTower, batch: FeatureBatch) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = tower(batch)
    assert z.dtype == torch.float32
    torch.testing.assert_close(z.norm(dim=1), torch.ones(4))
    assert (z * tower(batch)).sum(dim=1).min() > 0.99


def test_an_untrained_projection_preserves_the_angles_of_the_features() -> None:
    tower = VideoTower(TowerConfig(dim=64), DIMS).eval()
    matrix = feature_matrix(*(feature_row(f"v{n}", frames=1, windows=0, text=False) for n in range(6)))
    batch = collate(matrix, np.arange(6))
    projection = sequential(tower.project[Modality.VISUAL.value])[:-1]
    x = F.normalize(projection(batch.vectors[Modality.VISUAL][:, 0]), dim=1)
    z = tower(batch)
    torch.testing.assert_close(z @ z.T, x @ x.T, atol=1e-5, rtol=0)


def test_standardisation_removes_shift_and_scale_of_the_features(tower: VideoTower) -> None:
    matrix = feature_matrix(*(feature_row(f"v{n}") for n in range(20)))
    shifted = feature_matrix(
        *({**row, "visual": [8 * x + 3 for x in row["visual"]]} for row in (feature_row(f"v{n}") for n in range(20)))
    )
    rows = np.arange(20)
    tower.fit_inputs({m: ragged.of(rows) for m, ragged in matrix.vectors.items()})
    z = tower(collate(matrix, rows))
    tower.fit_inputs({m: ragged.of(rows) for m, ragged in shifted.vectors.items()})
    torch.testing.assert_close(tower(collate(shifted, rows)), z, atol=5e-3, rtol=0)


def test_copying_inputs_copies_the_standardisation(tower: VideoTower, batch: FeatureBatch) -> None:
    other = VideoTower(tower.config, tower.dims)
    other.fit_inputs({m: 5 + np.random.default_rng(0).normal(size=(9, d)).astype(np.float16) for m, d in DIMS.items()})
    tower.copy_inputs(other)
    other.project.load_state_dict(tower.project.state_dict())
    other.pool.load_state_dict(tower.pool.state_dict())
    other.fusion.load_state_dict(tower.fusion.state_dict())
    other.out.load_state_dict(tower.out.state_dict())
    torch.testing.assert_close(tower(batch), other.eval()(batch))


def test_invalid_architectures_are_rejected() -> None:
    with pytest.raises(ValidationError):
        TowerConfig(dim=0)
    with pytest.raises(ValidationError):
        TowerConfig(dropout=1.0)
    with pytest.raises(ValidationError):
        TowerConfig(gate_prior=(1.0, 0.0, 0.0))
    with pytest.raises(ValidationError, match=r"tower\.heads"):
        TowerConfig(fusion="attention", heads=3)
    with pytest.raises(ValidationError, match="width of 20"):
        TowerConfig(fusion="attention", heads=8, projection=20)
