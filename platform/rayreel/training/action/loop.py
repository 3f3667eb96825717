"""The training loop of a video network on each Ray Train worker."""

import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray.train
import ray.train.torch
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from rayreel.encoders.trained import WEIGHTS
from rayreel.evaluation.config import SplitConfig
from rayreel.training.action.classifier import ActionClassifier, accuracy, confusion_of
from rayreel.training.action.clips import ClipStore
from rayreel.training.action.config import ActionConfig
from rayreel.training.action.data import LabelledClips, draw_windows, load_clips
from rayreel.training.distributed import sum_gradients, world
from rayreel.training.order import count_steps, epoch_batches, positions

TEST = "test.json"
_STATE = "state.pt"


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
        self.epoch = 0
        self.best: dict[str, Any] = {"epoch": -1, "accuracy": -1.0, "loss": math.inf, "model": {}}

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or validation has not improved for `patience` epochs."""
        stale = self.config.patience and self.epoch - 1 - self.best["epoch"] >= self.config.patience
        return self.epoch >= self.config.epochs or bool(stale and self.epoch)

    def train_epoch(self) -> dict[str, float]:
        """Run one pass over the training clips and one over the validation clips; return the metrics."""
        config, rows = self.config, self.data.split.train
        self.model.train()
        steps = epoch_batches(rows, config.batch_size, self.epoch, config.seed)
        losses = [self.step(step, batch_J) for step, batch_J in steps]
        confusion_KK, loss = confusion_of(self.model, self.data, self.data.split.validation, self.device)
        metrics = {"epoch": self.epoch, "train/loss": float(np.mean(losses))}
        metrics |= {"validation/accuracy": accuracy(confusion_KK), "validation/loss": loss}
        self._keep_best(metrics)
        self.epoch += 1
        return metrics

    def step(self, step: int, batch_J: np.ndarray[Any, np.dtype[np.int64]]) -> float:
        """Run one step on a global batch, of which this worker takes its share; return the loss of the global batch."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(step)
        self.optimizer.zero_grad()
        share = self._share(step, batch_J)
        if share.requires_grad:
            share.backward()  # type: ignore[no-untyped-call]
        loss = sum_gradients(self.model.parameters(), share)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimizer.step()
        return float(loss)

    def _share(self, step: int, batch_J: np.ndarray[Any, np.dtype[np.int64]]) -> Tensor:
        """This worker's share of the batch's mean loss; the sum over workers is the mean loss."""
        mine_B = positions(len(batch_J), *world())
        mine_B = mine_B[mine_B >= 0]
        if not len(mine_B):
            return torch.zeros((), device=self.device)
        windows = draw_windows(self.data, batch_J, mine_B, self.config, [self.config.seed, self.epoch, step])
        logits_BK = self.model(torch.from_numpy(windows).to(self.device))
        labels_B = torch.from_numpy(self.data.labels_N[batch_J[mine_B]]).to(self.device)
        total = F.cross_entropy(logits_BK, labels_B, label_smoothing=self.config.label_smoothing, reduction="sum")
        return total / len(batch_J)

    def _rate(self, step: int) -> float:
        each = count_steps(len(self.data.split.train), self.config.batch_size)
        done = (self.epoch * each + step + 1) / max(1, each * self.config.epochs)
        warmup = self.config.warmup
        share = done / warmup if done < warmup else (1 + math.cos(math.pi * (done - warmup) / (1 - warmup))) / 2
        return self.config.learning_rate * share

    def _keep_best(self, metrics: dict[str, float]) -> None:
        """Keep the network with the best validation accuracy; ties are decided by the lower loss."""
        new = (metrics["validation/accuracy"], -metrics["validation/loss"])
        if new > (self.best["accuracy"], -self.best["loss"]):
            state = {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}
            self.best = {"epoch": self.epoch, "accuracy": new[0], "loss": -new[1], "model": state}

    def state(self) -> dict[str, Any]:
        """Return the state needed to resume."""
        parts = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        return {**parts, "epoch": self.epoch, "best": self.best}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore from `state`."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.best = state["epoch"], state["best"]


def action_loop(job: ActionJob) -> str | None:
    """Train, and report metrics and a checkpoint after every epoch; finally report the best network and its test.

    Resumes from a checkpoint if there is one. The test clips are used once, after model selection. Returns a
    description if training diverges, else None: an exception would be treated as a worker failure and retried.
    """
    run = ActionRun(job, job.load(), ray.train.torch.get_device())
    if (checkpoint := ray.train.get_checkpoint()) is not None:
        with checkpoint.as_directory() as folder:
            run.restore(torch.load(Path(folder) / _STATE, map_location="cpu", weights_only=True))
    while not run.finished:
        metrics = run.train_epoch()
        if not math.isfinite(metrics["train/loss"]):
            return f"the loss of epoch {run.epoch - 1} is {metrics['train/loss']}"
        _report(metrics, run, {})
    run.model.load_state_dict(run.best["model"])
    confusion_KK, loss = confusion_of(run.model, run.data, run.data.split.test, run.device)
    measured = {"test/accuracy": accuracy(confusion_KK), "test/loss": loss} if confusion_KK.sum() else {}
    chosen = {f"best/{name}": run.best[name] for name in ("epoch", "accuracy", "loss")}
    _report({"epoch": run.epoch, **chosen, **measured}, run, {"confusion": confusion_KK.tolist()})
    return None


def _report(metrics: dict[str, float], run: ActionRun, test: dict[str, Any]) -> None:
    """Report from all workers, which also synchronises them. Only rank 0 adds the checkpoint."""
    if world()[0] != 0:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        torch.save(run.state(), Path(folder) / _STATE)
        if test:
            state = run.model.backbone.state_dict()
            save_file({name: value.cpu().contiguous() for name, value in state.items()}, Path(folder) / WEIGHTS)
            (Path(folder) / TEST).write_text(json.dumps(test))
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))
