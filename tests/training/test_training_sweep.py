from pathlib import Path

import pytest

from feature_rows import KEY, clusters
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.settings import load_settings
from rayreel.storage import Storage
from rayreel.training.config import Select, TrainConfig
from rayreel.training.job import TrainJob
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.sweep.compare import NothingTrained, common_select, compare, ranked
from rayreel.training.sweep.grid import PRESETS, ImpossibleGrid, axis, cells_of, common, labels
from rayreel.training.sweep.run import max_concurrent
from rayreel.training.sweep.trial import SweepTrial, TrialOutcome


def outcome(label: str, seed: int, score: float | None) -> TrialOutcome:
    trial = SweepTrial(f"{label}-{seed}", (label,), label, seed, TrainJob("storage", KEY, ""), {}, {})
    return TrialOutcome(trial, trouble="no luck") if score is None else TrialOutcome(trial, score=score)


def test_a_grid_is_the_product_of_its_axes_and_a_bracketed_list_is_one_value() -> None:
    assert axis("tower.modalities=[visual],[visual, audio]") == (
        ("tower.modalities=[visual]",),
        ("tower.modalities=[visual, audio]",),
    )
    assert cells_of(None, ["loss.kind=triplet,infonce", "train.seed=1,2"]) == [
        ("loss.kind=triplet", "train.seed=1"),
        ("loss.kind=triplet", "train.seed=2"),
        ("loss.kind=infonce", "train.seed=1"),
        ("loss.kind=infonce", "train.seed=2"),
    ]


def test_duplicate_cells_are_removed() -> None:
    assert len(cells_of(None, ["loss.kind=triplet,triplet"])) == 1


def test_losses_and_distances_is_a_two_by_two_grid_on_co_liked_pairs() -> None:
    cells = cells_of("losses-and-distances", [])
    varied = {tuple(label.split(", ")) for label in labels(cells)}
    assert varied == {
        (f"loss.kind={kind}", f"loss.distance={distance}")
        for kind in ("contrastive", "triplet")
        for distance in ("cosine", "euclidean")
    }
    assert "pairs.co_liked=1" in common(cells) and "pairs.views=0" in common(cells)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_cell_of_a_preset_is_valid(preset: str) -> None:
    for cell in cells_of(preset, []):
        load_settings(sets=cell)


@pytest.mark.parametrize("grid", ["loss.kind", "loss.kind=", "splits.seed=1,2", "evaluation.history=5,10"])
def test_a_grid_that_is_malformed_or_varies_the_evaluation_is_rejected(grid: str) -> None:
    with pytest.raises(ImpossibleGrid, match=grid.partition("=")[0]):
        cells_of(None, [grid])


def test_cells_are_ranked_by_their_mean_over_seeds_with_failed_trials_last() -> None:
    lucky = [outcome("lucky", 0, 0.9), outcome("lucky", 1, 0.1)]
    steady = [outcome("steady", 0, 0.6), outcome("steady", 1, 0.7)]
    failed = outcome("failed", 0, None)
    names = [found.trial.name for found in ranked([failed, *lucky, *steady])]
    assert names == ["steady-1", "steady-0", "lucky-0", "lucky-1", "failed-0"]


def test_a_sweep_without_a_trained_tower_reports_the_first_error(tmp_path: Path) -> None:
    matrix, failed = clusters(categories=2, each=5), [outcome("failed", 0, None)]
    with pytest.raises(NothingTrained, match="no luck"):
        compare(failed, Storage(tmp_path), matrix, splits=SplitConfig(), config=EvaluationConfig(), interactions=None)


def test_all_trials_are_validated_by_users_if_one_learns_from_interactions() -> None:
    plain, taught = (TrainConfig(), PairsConfig()), (TrainConfig(), PairsConfig(co_watched=1))
    assert common_select([plain, taught], users=True) is Select.USERS
    assert common_select([plain, plain], users=True) is common_select([plain, taught], users=False) is Select.AUTO
    chosen = TrainConfig(select=Select.TAGS)
    assert common_select([(chosen, pairs) for _, pairs in (plain, taught)], users=True) is Select.TAGS


def test_trials_cannot_use_different_validation_tasks() -> None:
    cells = [(TrainConfig(select=by), PairsConfig()) for by in (Select.TAGS, Select.CATEGORY)]
    with pytest.raises(ImpossibleGrid, match=r"train\.select"):
        common_select(cells, users=False)


@pytest.mark.parametrize(("workers", "parallel", "expected"), [(1, 2, 2), (2, 4, 2), ("1:4", 4, 1), (9, 2, 1)])
def test_concurrent_trials_are_limited_to_those_that_fit_with_all_workers(
    workers: int | str, parallel: int, expected: int
) -> None:
    assert max_concurrent([TrainConfig(workers=workers)], parallel, {"CPU": 4.0}) == expected
