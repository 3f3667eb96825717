import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from feature_rows import DIMS, KEY, feature_row, feature_table
from rayreel.encoders.encoder import Modality
from rayreel.errors import RayreelError
from rayreel.evaluation.config import SplitConfig
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore
from rayreel.storage import Storage
from rayreel.tower.config import TowerConfig
from rayreel.tower.losses.config import LossConfig
from rayreel.tower.tower import VideoTower
from rayreel.training.batches import PairBatch
from rayreel.training.config import TrainConfig
from rayreel.training.job import TrainJob, prepare
from rayreel.training.loop import Run, make_learner, steps_per_epoch
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.pairs.sources import PairsImpossible
from rayreel.training.progress import Progress, StepResult

MINED = PairsConfig(negatives="mined", mined_from_rank=1, mined_to_rank=8)


def job(root: Path, videos: int = 60, pairs: PairsConfig | None = None, **train: object) -> TrainJob:
    store = FeatureStore(Storage(root), KEY)
    store.create()
    rows = [feature_row(f"v{n:02}", category=f"c{n % 3}") for n in range(videos)]
    store.add(feature_table(*rows), QUARANTINE.empty_table())
    store.set_catalog([(f"v{n:02}", "1") for n in range(videos)])
    return TrainJob(
        str(root),
        KEY,
        store.fingerprint(),
        TowerConfig(dim=16, gate_hidden=8, heads=2),
        TrainConfig.model_validate({"batch_size": 8} | train),
        SplitConfig(validation=0.2, test=0.2),
        pairs=pairs or PairsConfig(),
    )


def new_run(what: TrainJob) -> Run:
    ready = prepare(what)
    return Run(what, ready, make_learner(what, ready), Progress())


def test_initial_weights_depend_on_the_seed_only(tmp_path: Path) -> None:
    what = job(tmp_path)
    ready = prepare(what)
    first, again = make_learner(what, ready), make_learner(what, ready)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters, again.parameters, strict=True))
    other = job(tmp_path, seed=1)
    assert not torch.equal(first.parameters[0], make_learner(other, ready).parameters[0])


def test_inputs_are_standardised_by_training_videos_only(tmp_path: Path) -> None:
    what = job(tmp_path)
    ready = prepare(what)
    expected = VideoTower(what.tower, DIMS)
    expected.fit_inputs({m: vectors.of(ready.split.train) for m, vectors in ready.matrix.vectors.items()})
    fitted = dict(make_learner(what, ready).tower.named_buffers())
    for name, buffer in expected.named_buffers():
        torch.testing.assert_close(fitted[name], buffer)


def test_the_mean_of_words_goes_into_the_tower(tmp_path: Path) -> None:
    words_D = np.ones(DIMS[Modality.VISUAL], np.float32)
    what = replace(job(tmp_path), words={Modality.VISUAL: words_D})
    fitted = dict(make_learner(what, prepare(what)).tower.named_buffers())
    torch.testing.assert_close(fitted["project.visual.0.gap"], 1 - fitted["project.visual.0.mean"])
    assert not fitted["project.audio.0.gap"].any()


def test_statistics_of_a_large_catalog_use_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    what = job(tmp_path)
    ready = prepare(what)
    whole = dict(make_learner(what, ready).tower.named_buffers())
    monkeypatch.setattr("rayreel.training.inputs._STATISTICS_VIDEOS", 10)
    part = dict(make_learner(what, ready).tower.named_buffers())
    assert all(not torch.equal(whole[name], part[name]) for name in whole if not name.endswith("gap"))


@pytest.mark.parametrize("kind", ["infonce", "supcon", "triplet", "contrastive"])
def test_an_epoch_runs_every_step_and_changes_the_weights(kind: str, tmp_path: Path) -> None:
    what = replace(job(tmp_path), loss=LossConfig(kind=kind))
    run = new_run(what)
    before = run.learner.parameters[0].clone()
    assert run.train_epoch() is None
    assert run.progress.step == run.progress.taken == steps_per_epoch(what.train, run.prepared)
    assert not torch.equal(before, run.learner.parameters[0])


def test_negatives_are_mined_every_epoch_and_kept_within_it(tmp_path: Path) -> None:
    run = new_run(job(tmp_path, pairs=MINED))
    run.train_epoch()
    first = run.prepared.plan.mined_TR
    assert first is not None
    state = {"learner": run.learner.state(), "progress": run.progress.state(), "mined": torch.from_numpy(first)}
    run.progress.end_epoch(0.0)
    run.train_epoch()
    second = run.prepared.plan.mined_TR
    assert second is not None and not np.array_equal(second, first)
    again = new_run(job(tmp_path, pairs=MINED))
    again.load(state)
    again.train_epoch()
    kept = again.prepared.plan.mined_TR
    assert kept is not None and np.array_equal(kept, first)


def test_a_run_resumed_within_an_epoch_equals_an_uninterrupted_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, interrupted = new_run(job(tmp_path, pairs=MINED)), new_run(job(tmp_path, pairs=MINED, prefetch=0))
    whole.train_epoch()
    states = []
    step = interrupted.learner.step

    def recording_step(batch: PairBatch, number: int, seed: tuple[int, ...]) -> StepResult:
        result = step(batch, number, seed)
        mined = torch.from_numpy(interrupted.prepared.plan.mined_TR)
        progress = Progress.of(interrupted.progress.state())
        progress.add(progress.step, result)
        states.append({"learner": _copied(interrupted.learner.state()), "progress": progress.state(), "mined": mined})
        return result

    with monkeypatch.context() as patched:
        patched.setattr(interrupted.learner, "step", recording_step)
        interrupted.train_epoch()
    resumed = new_run(job(tmp_path, pairs=MINED))
    resumed.load(states[1])
    resumed.train_epoch()
    assert resumed.progress == whole.progress
    assert all(torch.equal(a, b) for a, b in zip(whole.learner.parameters, resumed.learner.parameters, strict=True))


def _copied(state: dict[str, object]) -> dict[str, object]:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    copied: dict[str, object] = torch.load(buffer, weights_only=True)
    return copied


def test_too_few_videos_are_rejected_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(RayreelError, match=r"at least 8 .*splits\.test"):
        prepare(job(tmp_path, videos=9))


def test_pair_sources_without_pairs_are_rejected_before_training(tmp_path: Path) -> None:
    with pytest.raises(PairsImpossible):
        prepare(job(tmp_path, pairs=PairsConfig(co_watched=1)))


def test_a_refit_trains_on_validation_videos_too_for_its_epochs_and_never_on_test_videos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = job(tmp_path)
    split = prepare(first).split
    run = new_run(replace(first, refit=2))
    assert set(run.prepared.split.train) == {*split.train, *split.validation}
    assert not {*run.prepared.plan.train_rows} & {*split.test}
    reported: list[dict[str, float]] = []
    monkeypatch.setattr(run, "_report", reported.append)
    while not run.finished:
        run.train_epoch()
        run.end_epoch()
    assert len(reported) == 2
    # Those videos are now trained on, so a score on them would mean nothing.
    assert not [name for metrics in reported for name in metrics if name.startswith("validation")]
