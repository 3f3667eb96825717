"""The training loop of a video network on each Ray Train worker."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray.train
import ray.train.torch
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from rayreel.encoders.r2plus1d import R2Plus1D
from rayreel.encoders.trained import WEIGHTS, R2Plus1DConfig
from rayreel.encoders.windows import WindowNetwork
from rayreel.evaluation.config import SplitConfig
from rayreel.training.action.clips import ClipStore
from rayreel.training.action.config import ActionConfig
from rayreel.training.action.data import LabelledClips, draw_windows, load_clips
from rayreel.training.checkpoint import latest_state, report
from rayreel.training.distributed import sum_gradients, world
from rayreel.training.order import count_steps, epoch_batches, positions
from rayreel.training.progress import Progress, StepResult, learning_rate

PREDICTED = "predicted.json"


class ActionClassifier(nn.Module):
    """Maps windows [B, T, S, S, 3] uint8 RGB to logits [B, classes]. The head is discarded after training."""

    def __init__(self, config: R2Plus1DConfig, classes: int) -> None:
        super().__init__()
        self.backbone = R2Plus1D(config)
        self.network = WindowNetwork(self.backbone)
        self.head = nn.Linear(self.backbone.dim, classes)

    def forward(self, frames_BTHWC: Tensor) -> Tensor:
        """Return the logits of these windows."""
        with torch.autocast("cuda", torch.bfloat16, enabled=frames_BTHWC.is_cuda):
            logits_BK: Tensor = self.head(self.network(frames_BTHWC))
        return logits_BK.float()


@torch.inference_mode()
def predict(
    model: ActionClassifier, data: LabelledClips, rows_N: NDArray[np.int64], device: torch.device
) -> tuple[NDArray[np.int64], float]:
    """Return the predicted class of each clip [N] and the mean cross-entropy, computed by all workers together.

    A clip's probabilities are the mean over its windows, as in Tran et al.
    """
    model.eval()
    rank, workers = world()
    totals = torch.zeros(len(rows_N) + 1, dtype=torch.float64)
    for place in range(rank, len(rows_N), workers):
        windows_BTHWC = torch.from_numpy(np.array(data.clips[rows_N[place]])).to(device)
        probability_K = F.softmax(model(windows_BTHWC), dim=1).mean(dim=0).double().cpu()
        totals[place] = probability_K.argmax()
        totals[-1] -= probability_K[int(data.labels_N[rows_N[place]])].clamp_min(1e-12).log()
    *predicted, loss = _summed(totals, device)
    return np.array(predicted, dtype=np.int64), loss / max(1, len(rows_N))


def accuracy(data: LabelledClips, rows_N: NDArray[np.int64], predicted_N: NDArray[np.int64]) -> float:
    """Return the share of correctly classified clips."""
    return float((data.labels_N[rows_N] == predicted_N).sum() / max(1, len(rows_N)))


def _summed(totals: Tensor, device: torch.device) -> list[float]:
    """Return the sums over all workers."""
    if world()[1] > 1:
        totals = totals.to(device)
        torch.distributed.all_reduce(totals)
    found: list[float] = totals.tolist()
    return found


@dataclass(frozen=True, slots=True)
class ActionJob:
    """Complete description of a run, sent to every worker. `clips` are rows of LISTED."""

    storage: str
    clips: pa.Table
    action: ActionConfig
    splits: SplitConfig

    def load(self) -> LabelledClips:
        """Load the clips, memory-mapped."""
        return load_clips(self.clips, ClipStore(self.storage, self.action), self.splits)


class ActionRun:
    """The state of a run on one worker: network, optimiser, epoch, and the best epoch's network."""

    def __init__(self, job: ActionJob, data: LabelledClips, device: torch.device) -> None:
        self.config, self.data, self.device = job.action, data, device
        torch.manual_seed(self.config.seed)
        self.model = ActionClassifier(self.config.network, len(data.classes)).to(device)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=self.config.learning_rate, weight_decay=self.config.weight_decay
        )
        self.epoch_steps = count_steps(len(data.split.train), self.config.batch_size)
        self.progress = Progress()
        self.best: dict[str, Any] = {}
        # Of this worker, in the current epoch: clips with the right class, and all clips.
        self.recognised = torch.zeros(2, dtype=torch.float64)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or validation has not improved for `patience` epochs."""
        return self.progress.epoch >= self.config.epochs or self.progress.stale(self.config.patience)

    def train_epoch(self) -> str | None:
        """Run one pass over the training clips; return a description if training diverges, else None."""
        self.model.train()
        self.recognised.zero_()
        rows, epoch = self.data.split.train, self.progress.epoch
        for step, batch_J in epoch_batches(rows, self.config.batch_size, epoch, self.config.seed):
            result = self.step(step, batch_J)
            self.progress.add(step, result)
            if not result.finite:
                return f"step {step} of epoch {epoch} has loss {result.loss:.3g} and gradient norm {result.norm:.3g}"
        return None

    def end_epoch(self) -> dict[str, float]:
        """Validate, keep the network with the best accuracy, and advance; a lower loss decides between equal ones."""
        held_N, epoch = self.data.split.validation, self.progress.epoch
        predicted_N, loss = predict(self.model, self.data, held_N, self.device)
        right, score = _summed(self.recognised, self.device), accuracy(self.data, held_N, predicted_N)
        metrics = {"epoch": epoch, **self.progress.metrics(), "train/accuracy": right[0] / max(1.0, right[1])}
        metrics |= {"validation/accuracy": score, "validation/loss": loss}
        if self.progress.end_epoch(score, -loss):
            model = {name: value.cpu().clone() for name, value in self.model.state_dict().items()}
            kept = {"epoch": epoch, "accuracy": score, "loss": loss}
            self.best = {**kept, "model": model, "predicted": predicted_N.tolist()}
        return metrics

    def step(self, step: int, batch_J: NDArray[np.int64]) -> StepResult:
        """Run one step on a global batch, of which this worker takes its share; the result is of the global batch."""
        number, steps = self.progress.epoch * self.epoch_steps + step, self.config.epochs * self.epoch_steps
        rate = learning_rate(number, steps, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        share = self._share(step, batch_J)
        if share.requires_grad:
            share.backward()  # type: ignore[no-untyped-call]
        loss = sum_gradients(self.model.parameters(), share)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimizer.step()
        return StepResult(float(loss), float(norm), rate)

    def _share(self, step: int, batch_J: NDArray[np.int64]) -> Tensor:
        """This worker's share of the batch's mean loss; the sum over workers is the mean loss."""
        mine_B = positions(len(batch_J), *world())
        mine_B = mine_B[mine_B >= 0]
        if not len(mine_B):
            return torch.zeros((), device=self.device)
        windows = draw_windows(self.data, batch_J, mine_B, self.config, [self.config.seed, self.progress.epoch, step])
        logits_BK = self.model(torch.from_numpy(windows).to(self.device))
        labels_B = torch.from_numpy(self.data.labels_N[batch_J[mine_B]]).to(self.device)
        self.recognised += torch.tensor([int((logits_BK.argmax(dim=1) == labels_B).sum()), len(labels_B)])
        total = F.cross_entropy(logits_BK, labels_B, label_smoothing=self.config.label_smoothing, reduction="sum")
        return total / len(batch_J)

    def state(self) -> dict[str, Any]:
        """Return the state needed to resume."""
        parts = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        return {**parts, "progress": self.progress.state(), "best": self.best}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore from `state`."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress, self.best = Progress.of(state["progress"]), state["best"]


def action_loop(job: ActionJob) -> str | None:
    """Train, and report metrics and a checkpoint after every epoch; finally report the best network and its test.

    Resumes from a checkpoint if there is one. The test clips are used once, after model selection. Returns a
    description if training diverges, else None: an exception would be treated as a worker failure and retried.
    """
    run = ActionRun(job, job.load(), ray.train.torch.get_device())
    if (state := latest_state()) is not None:
        run.restore(state)
    while not run.finished:
        if (divergence := run.train_epoch()) is not None:
            return divergence
        report(run.end_epoch(), run.state())
    run.model.load_state_dict(run.best["model"])
    test_N = run.data.split.test
    predicted_N, loss = predict(run.model, run.data, test_N, run.device)
    measured = {"test/accuracy": accuracy(run.data, test_N, predicted_N), "test/loss": loss} if len(test_N) else {}
    chosen = {f"best/{name}": run.best[name] for name in ("epoch", "accuracy", "loss")}
    predicted = {"validation": run.best["predicted"], "test": predicted_N.tolist()}
    report({"epoch": run.progress.epoch, **chosen, **measured}, run.state(), partial(_write, run.model, predicted))
    return None


def _write(model: ActionClassifier, predicted: dict[str, list[int]], folder: Path) -> None:
    """Write the network without its head, and the predicted classes of the validation and the test clips."""
    weights = {name: value.cpu().contiguous() for name, value in model.backbone.state_dict().items()}
    save_file(weights, folder / WEIGHTS)
    (folder / PREDICTED).write_text(json.dumps(predicted))
