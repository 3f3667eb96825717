from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from moving import KINDS, moving_frames
from rayreel.catalog.video import CatalogVideo
from rayreel.evaluation.config import SplitConfig
from rayreel.evaluation.splits import Split
from rayreel.training.action.config import ActionConfig
from rayreel.training.action.data import LabelledClips, list_clips
from rayreel.training.action.loop import ActionJob, ActionRun, accuracy, predict
from rayreel.training.progress import learning_rate
from worker_processes import spawn_workers

EACH = 24
CONFIG = ActionConfig(
    network={"frames": 6, "stride": 2, "size": 24, "channels": (8, 16)},
    windows=2,
    epochs=12,
    patience=0,
    batch_size=8,
    learning_rate=5e-3,
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def moving_clips() -> LabelledClips:
    """Two windows of each film; single frames do not distinguish the classes."""
    films = [(kind, seed) for kind in range(len(KINDS)) for seed in range(EACH)]
    clips = []
    for kind, seed in films:
        frames = np.stack(list(moving_frames(KINDS[kind], seed, 24, 48)))[:, ::2, ::2]
        clips.append(np.stack([frames[0:12:2], frames[12:24:2]]))
    rows, place = np.arange(len(films)), np.array([seed for _, seed in films])
    split = Split(rows[place < 14], rows[(place >= 14) & (place < 18)], rows[place >= 18])
    return LabelledClips(clips, np.array([kind for kind, _ in films]), KINDS, split)


def run_of(data: LabelledClips, **changes: object) -> ActionRun:
    listed = list_clips([CatalogVideo(video_id="x", uri="/x.mp4", category="x")], "source")
    return ActionRun(ActionJob("unused", listed, CONFIG.model_copy(update=changes), SplitConfig()), data, CPU)


def epoch_of(run: ActionRun) -> dict[str, float]:
    assert run.train_epoch() is None
    return run.end_epoch()


def test_training_learns_motions_that_no_single_frame_shows() -> None:
    run = run_of(moving_clips())
    losses = []
    while not run.finished:
        losses.append(epoch_of(run)["train/loss"])
    run.model.load_state_dict(run.best["model"])
    test = run.data.split.test
    predicted, _ = predict(run.model, run.data, test, CPU)
    assert len(predicted) == 18
    assert accuracy(run.data, test, predicted) > 0.7  # random: one third
    assert losses[-1] < 0.85 * losses[0]


def test_the_best_epoch_is_kept_and_training_stops_early(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(moving_clips(), patience=2)
    finished = []
    for right, loss in [(5, 1.0), (6, 2.0), (6, 1.5), (6, 1.6), (5, 0.1)]:
        with torch.no_grad():
            run.model.head.bias.fill_(loss)
        labels = run.data.labels_N[run.data.split.validation]
        found = np.where(np.arange(12) < right, labels, (labels + 1) % 3), loss
        monkeypatch.setattr("rayreel.training.action.loop.predict", lambda *_, found=found: found)
        run.end_epoch()
        finished.append(run.finished)
    assert run.best["epoch"] == 2
    assert run.best["model"]["head.bias"].tolist() == [1.5] * len(KINDS)
    assert finished == [False, False, False, False, True]


def test_a_diverging_step_ends_the_epoch() -> None:
    run = run_of(moving_clips())
    with torch.no_grad():
        run.model.head.bias.fill_(torch.nan)
    assert run.train_epoch() == "step 0 of epoch 0 has loss nan and gradient norm nan"


def test_a_restart_continues_exactly_from_the_checkpoint(tmp_path: Path) -> None:
    data = moving_clips()
    uninterrupted = run_of(data, epochs=2)
    first = epoch_of(uninterrupted)
    torch.save(uninterrupted.state(), tmp_path / "state.pt")
    second = epoch_of(uninterrupted)
    restarted = run_of(data, epochs=2, seed=0)
    restarted.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    assert epoch_of(restarted) == second != first
    assert restarted.finished


def _shares(rank: int, workers: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/store{workers}", world_size=workers, rank=rank)
    run = run_of(moving_clips())
    loss = run.step(0, run.data.split.train[:5]).loss
    predicted, mean = predict(run.model, run.data, run.data.split.validation[:5], CPU)
    right = run.end_epoch()["train/accuracy"]
    totals = (predicted.tolist(), mean, right)
    if rank == 0:
        torch.save({"loss": loss, "model": run.model.state_dict(), "totals": totals}, f"{folder}/{workers}")
    torch.distributed.destroy_process_group()


def test_a_step_of_two_workers_on_an_uneven_batch_equals_that_of_one_process(tmp_path: Path) -> None:
    run = run_of(moving_clips())
    loss = run.step(0, run.data.split.train[:5]).loss
    predicted, mean = predict(run.model, run.data, run.data.split.validation[:5], CPU)
    right = run.end_epoch()["train/accuracy"]
    spawn_workers(2, _shares, 2, str(tmp_path))
    theirs = torch.load(tmp_path / "2", weights_only=True)
    assert theirs["loss"] == pytest.approx(loss, abs=1e-5)
    assert theirs["totals"] == (predicted.tolist(), pytest.approx(mean, abs=1e-5), right)
    assert right in {number / 5 for number in range(6)}
    for name, value in run.model.state_dict().items():
        torch.testing.assert_close(theirs["model"][name], value, atol=1e-5, rtol=1e-4)


def test_the_learning_rate_rises_and_then_decays_to_zero() -> None:
    rates = [learning_rate(number, 6 * CONFIG.epochs, CONFIG) for number in range(6 * CONFIG.epochs)]
    top = int(np.argmax(rates))
    assert max(rates) == pytest.approx(CONFIG.learning_rate, rel=0.02)
    assert 0 < top < len(rates) // 5
    assert rates == sorted(rates[: top + 1]) + sorted(rates[top + 1 :], reverse=True)
    assert rates[-1] < 0.01 * max(rates)
