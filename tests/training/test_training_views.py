import numpy as np
import pytest
import torch

from feature_rows import feature_matrix, feature_row
from rayreel.encoders.encoder import Modality
from rayreel.features.matrix import FeatureMatrix
from rayreel.tower.batch import FeatureBatch
from rayreel.tower.embed import collate
from rayreel.tower.losses.global_batch import FILLER
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.pairs.sources import Kind
from rayreel.training.views import ViewRandomness, draw_randomness, make_views

COUNTS = [(8, 4, 1), (5, 3, 1), (2, 0, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1), (3, 0, 0), (0, 2, 0), (1, 2, 0)]
LARGEST = {Modality.VISUAL: 8, Modality.AUDIO: 8, Modality.TEXT: 1}
TWO_VIDEOS = [Kind.CO_WATCHED, Kind.LABEL, Kind.CO_LIKED]


def matrix_of(*counts: tuple[int, int, int]) -> FeatureMatrix:
    return feature_matrix(
        *(feature_row(f"v{n}", frames=v, windows=a, text=bool(t)) for n, (v, a, t) in enumerate(counts))
    )


def batch_of(*counts: tuple[int, int, int]) -> FeatureBatch:
    return collate(matrix_of(*counts), np.arange(len(counts)))


def randomness_of(rows: int, seed: int = 0) -> ViewRandomness:
    return draw_randomness(LARGEST, rows, torch.Generator().manual_seed(seed))


def pair(
    a: FeatureBatch,
    b: FeatureBatch | None = None,
    kind: Kind = Kind.VIEWS,
    *,
    modality_dropout: float = 0.0,
    noise_std: float = 0.1,
    seed: int = 0,
) -> tuple[FeatureBatch, FeatureBatch]:
    config = PairsConfig(modality_dropout=modality_dropout, noise_std=noise_std)
    kinds = np.full(len(a.ids_B), kind, dtype=np.int8)
    return make_views(a, a if b is None else b, kinds, randomness_of(len(kinds), seed), config)


def shown(batch: FeatureBatch) -> torch.Tensor:
    """[B]: number of vectors of each view."""
    return torch.stack([mask.sum(dim=1) for mask in batch.mask.values()]).sum(dim=0)


@pytest.mark.parametrize("modality_dropout", [0.0, 0.5, 0.95])
def test_no_view_is_empty_and_two_views_share_only_single_vectors(modality_dropout: float) -> None:
    batch = batch_of(*COUNTS)
    for seed in range(50):
        a, b = pair(batch, modality_dropout=modality_dropout, seed=seed)
        for modality in Modality:
            several = batch.mask[modality].sum(dim=1) > 1
            assert not (a.mask[modality] & b.mask[modality])[several].any()
        assert (shown(a) > 0).all()
        assert (shown(b) > 0).all()


@pytest.mark.parametrize("kind", Kind)
def test_views_of_every_kind_are_subsets_of_the_video_and_not_empty(kind: Kind) -> None:
    batch = batch_of(*COUNTS)
    for seed in range(20):
        for view in pair(batch, kind=kind, modality_dropout=0.7, seed=seed):
            assert (shown(view) > 0).all()
            assert not any((view.mask[m] & ~batch.mask[m]).any() for m in Modality)


@pytest.mark.parametrize("modality_dropout", [0.0, 0.5])
def test_a_video_with_a_single_vector_never_loses_it(modality_dropout: float) -> None:
    batch = batch_of((1, 0, 0), (0, 1, 0), (0, 0, 1))
    for seed in range(10):
        a, b = pair(batch, modality_dropout=modality_dropout, seed=seed)
        assert shown(a).tolist() == shown(b).tolist() == [1, 1, 1]


def test_without_modality_dropout_the_views_split_all_vectors_in_halves() -> None:
    batch = batch_of(*COUNTS)
    a, b = pair(batch)
    for modality in Modality:
        assert torch.equal(a.mask[modality] | b.mask[modality], batch.mask[modality])
        assert ((a.mask[modality].sum(dim=1) - b.mask[modality].sum(dim=1)).abs() <= 1).all()
        single = batch.mask[modality].sum(dim=1) == 1
        assert torch.equal(a.mask[modality][single], b.mask[modality][single])


@pytest.mark.parametrize("kind", [Kind.VIEWS, *TWO_VIDEOS])
def test_modality_dropout_drops_whole_modalities_at_the_configured_rate(kind: Kind) -> None:
    batch = batch_of(*[(8, 8, 0)] * 2000)
    for view in pair(batch, kind=kind, modality_dropout=0.3):
        audio, visual = view.mask[Modality.AUDIO].sum(dim=1), view.mask[Modality.VISUAL].sum(dim=1)
        assert set(audio.tolist()) == ({0, 4} if kind == Kind.VIEWS else {0, 8})
        # A view that would lose both keeps both.
        assert (audio == 0).float().mean().item() == pytest.approx(0.3 * 0.7, abs=0.03)
        assert ((audio == 0) & (visual == 0)).sum() == 0


def test_text_is_in_both_views_unless_dropped() -> None:
    a, b = pair(batch_of(*[(8, 4, 1)] * 500), modality_dropout=0.5)
    in_a, in_b = a.mask[Modality.TEXT].any(dim=1), b.mask[Modality.TEXT].any(dim=1)
    assert (in_a & in_b).any()
    assert (in_a & ~in_b).any()
    assert (~in_a & in_b).any()


def test_frames_are_split_differently_in_each_step() -> None:
    batch = batch_of((8, 4, 1))
    assert len({tuple(pair(batch, seed=seed)[0].mask[Modality.VISUAL][0].tolist()) for seed in range(20)}) > 10


@pytest.mark.parametrize("kind", TWO_VIDEOS)
def test_pairs_of_two_videos_contain_all_vectors(kind: Kind) -> None:
    matrix = matrix_of(*COUNTS)
    a = collate(matrix, np.array([0, 3, 4, 8]))
    b = collate(matrix, np.array([6, 5, 2, 1]))
    for view, batch in zip(pair(a, b, kind), (a, b), strict=True):
        assert all(torch.equal(view.mask[m], batch.mask[m]) for m in Modality)
        assert torch.equal(view.ids_B, batch.ids_B)


def test_a_cross_modal_pair_has_text_on_one_side_and_images_and_audio_on_the_other() -> None:
    batch = batch_of(*[(8, 4, 1)] * 200)
    a, b = pair(batch, kind=Kind.CROSS_MODAL, modality_dropout=0.9)
    a_has_text, b_has_text = a.mask[Modality.TEXT].any(dim=1), b.mask[Modality.TEXT].any(dim=1)
    assert torch.equal(a_has_text, ~b_has_text)
    assert 0.3 < a_has_text.float().mean().item() < 0.7
    for view, has_text in ((a, a_has_text), (b, b_has_text)):
        for modality in (Modality.VISUAL, Modality.AUDIO):
            assert torch.equal(view.mask[modality], batch.mask[modality] & ~has_text.unsqueeze(1))


def test_a_cross_modal_pair_with_an_empty_side_becomes_two_views() -> None:
    batch = batch_of((8, 4, 0), (0, 0, 1))
    for got, expected in zip(pair(batch, kind=Kind.CROSS_MODAL), pair(batch), strict=True):
        assert all(torch.equal(got.mask[m], expected.mask[m]) for m in Modality)


def test_a_noise_pair_is_a_video_and_the_same_video_with_proportional_noise() -> None:
    batch = batch_of(*[(8, 4, 1)] * 50)
    a, b = pair(batch, kind=Kind.NOISE, noise_std=0.2, modality_dropout=0.9)
    assert a.vectors is batch.vectors
    for modality in Modality:
        assert torch.equal(a.mask[modality], batch.mask[modality])
        assert torch.equal(b.mask[modality], batch.mask[modality])
        noise = b.vectors[modality] - batch.vectors[modality]
        share = noise.square().mean(dim=2).sqrt() / batch.vectors[modality].square().mean(dim=2).sqrt()
        assert share.mean().item() == pytest.approx(0.2, rel=0.1)


def test_noise_is_added_to_noise_pairs_only() -> None:
    batch = batch_of((8, 4, 1), (8, 4, 1), (8, 4, 1))
    kinds = np.array([Kind.VIEWS, Kind.NOISE, Kind.CO_WATCHED], dtype=np.int8)
    _, b = make_views(batch, batch, kinds, randomness_of(3), PairsConfig())
    changed = (b.vectors[Modality.VISUAL] != batch.vectors[Modality.VISUAL]).flatten(1).any(dim=1)
    assert changed.tolist() == [False, True, False]


MIXED = np.array([0, 1, 2, 3, 4, 5, 0, 2, 5], dtype=np.int8)


def test_views_depend_on_the_drawn_randomness_only() -> None:
    batch = batch_of(*COUNTS)
    torch.manual_seed(1)
    one = make_views(batch, batch, MIXED, randomness_of(9, seed=5), PairsConfig())
    torch.manual_seed(2)
    two = make_views(batch, batch, MIXED, randomness_of(9, seed=5), PairsConfig())
    for first, second in zip(one, two, strict=True):
        assert all(torch.equal(first.mask[m], second.mask[m]) for m in Modality)
        assert all(torch.equal(first.vectors[m], second.vectors[m]) for m in Modality)


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_workers_together_see_the_views_of_one_process(workers: int) -> None:
    matrix, anchors, partners = matrix_of(*COUNTS), np.arange(9), np.array([0, 2, 2, 5, 7, 5, 6, 7, 8])
    whole = randomness_of(9)
    alone = make_views(collate(matrix, anchors), collate(matrix, partners), MIXED, whole, PairsConfig())
    for places in np.array_split(np.arange(9), workers):
        a, b = collate(matrix, anchors[places]), collate(matrix, partners[places])
        for got, expected in zip(make_views(a, b, MIXED[places], whole.of(places), PairsConfig()), alone, strict=True):
            for modality in Modality:
                width = got.mask[modality].shape[1]
                assert torch.equal(got.mask[modality], expected.mask[modality][places, :width])
                assert not expected.mask[modality][places, width:].any()
                valid = got.mask[modality]
                assert torch.equal(got.vectors[modality][valid], expected.vectors[modality][places, :width][valid])


def test_a_filler_row_is_treated_as_two_views() -> None:
    batch = batch_of((8, 4, 1))
    kinds = np.array([FILLER], dtype=np.int8)
    filler = make_views(batch, batch, kinds, randomness_of(1), PairsConfig())
    for got, expected in zip(filler, pair(batch, modality_dropout=0.3), strict=True):
        assert all(torch.equal(got.mask[m], expected.mask[m]) for m in Modality)


def test_views_keep_ids_and_vectors() -> None:
    batch = batch_of(*COUNTS)
    for view in pair(batch, modality_dropout=0.3):
        assert torch.equal(view.ids_B, batch.ids_B)
        assert view.vectors is batch.vectors
