import numpy as np
import pytest
import torch

from feature_rows import feature_matrix, feature_row
from rayreel.encoders.encoder import Modality
from rayreel.tower.batch import FeatureBatch
from rayreel.tower.embed import collate
from rayreel.training.views import two_views

COUNTS = [(8, 4, 1), (5, 3, 1), (2, 0, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1), (3, 0, 0), (0, 2, 0), (1, 2, 0)]


def batch_of(*counts: tuple[int, int, int]) -> FeatureBatch:
    rows = [feature_row(f"v{n}", frames=v, windows=a, text=bool(t)) for n, (v, a, t) in enumerate(counts)]
    return collate(feature_matrix(*rows), np.arange(len(rows)))


def deal(batch: FeatureBatch, modality_dropout: float = 0.0, seed: int = 0) -> tuple[FeatureBatch, FeatureBatch]:
    return two_views(batch, modality_dropout, torch.Generator().manual_seed(seed))


def shown(batch: FeatureBatch) -> torch.Tensor:
    """[B]: how many vectors each video shows."""
    return torch.stack([mask.sum(dim=1) for mask in batch.mask.values()]).sum(dim=0)


@pytest.mark.parametrize("modality_dropout", [0.0, 0.5, 0.95])
def test_no_view_is_empty_and_two_views_share_only_what_there_is_one_of(modality_dropout: float) -> None:
    batch = batch_of(*COUNTS)
    for seed in range(50):
        a, b = deal(batch, modality_dropout, seed)
        for modality in Modality:
            several = batch.mask[modality].sum(dim=1) > 1
            assert not (a.mask[modality] & b.mask[modality])[several].any()
        assert (shown(a) > 0).all()
        assert (shown(b) > 0).all()


@pytest.mark.parametrize("modality_dropout", [0.0, 0.5])
def test_a_video_of_one_vector_in_all_never_loses_it(modality_dropout: float) -> None:
    batch = batch_of((1, 0, 0), (0, 1, 0), (0, 0, 1))
    for seed in range(10):
        a, b = deal(batch, modality_dropout, seed)
        assert shown(a).tolist() == shown(b).tolist() == [1, 1, 1]


def test_views_show_only_what_is_there() -> None:
    batch = batch_of(*COUNTS)
    for seed in range(10):
        for view in deal(batch, 0.5, seed):
            assert not any((view.mask[m] & ~batch.mask[m]).any() for m in Modality)


def test_without_modality_dropout_the_views_hold_all_vectors_in_halves() -> None:
    batch = batch_of(*COUNTS)
    a, b = deal(batch)
    for modality in Modality:
        assert torch.equal(a.mask[modality] | b.mask[modality], batch.mask[modality])
        assert ((a.mask[modality].sum(dim=1) - b.mask[modality].sum(dim=1)).abs() <= 1).all()
        single = batch.mask[modality].sum(dim=1) == 1
        assert torch.equal(a.mask[modality][single], b.mask[modality][single])


def test_modality_dropout_hides_whole_modalities_about_as_often_as_asked() -> None:
    batch = batch_of(*[(8, 8, 0)] * 2000)
    a, _ = deal(batch, 0.3)
    sound, pictures = a.mask[Modality.AUDIO].sum(dim=1), a.mask[Modality.VISUAL].sum(dim=1)
    assert set(sound.tolist()) == {0, 4}
    # A view that loses both gets both back.
    assert (sound == 0).float().mean().item() == pytest.approx(0.3 * 0.7, abs=0.03)
    assert ((sound == 0) & (pictures == 0)).sum() == 0


def test_text_is_in_both_views_until_one_loses_it() -> None:
    a, b = deal(batch_of(*[(8, 4, 1)] * 500), 0.5)
    in_a, in_b = a.mask[Modality.TEXT].any(dim=1), b.mask[Modality.TEXT].any(dim=1)
    assert (in_a & in_b).any()
    assert (in_a & ~in_b).any()
    assert (~in_a & in_b).any()


def test_another_step_deals_the_frames_anew() -> None:
    batch = batch_of((8, 4, 1))
    assert len({tuple(deal(batch, seed=seed)[0].mask[Modality.VISUAL][0].tolist()) for seed in range(20)}) > 10


def test_the_same_generator_gives_the_same_views() -> None:
    batch = batch_of(*COUNTS)
    torch.manual_seed(1)
    one = deal(batch, 0.3, seed=5)
    torch.manual_seed(2)
    two = deal(batch, 0.3, seed=5)
    for first, second in zip(one, two, strict=True):
        assert all(torch.equal(first.mask[m], second.mask[m]) for m in Modality)


def test_views_keep_the_videos_names_and_vectors() -> None:
    batch = batch_of(*COUNTS)
    for view in deal(batch, 0.3):
        assert torch.equal(view.ids_B, batch.ids_B)
        assert view.vectors is batch.vectors
