"""What each Ray Train worker does to train a video network."""

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
from rayreel.training.action.data import LabelledClips, load_clips, take
from rayreel.training.distributed import sum_gradients, world
from rayreel.training.order import count_steps, joined_steps, positions

TEST = "test.json"
_STATE = "state.pt"


@dataclass(frozen=True, slots=True)
class ActionJob:
    """All that a worker needs to know; travels to every worker. `clips` are rows of LISTED."""

    storage: str
    clips: pa.Table
    action: ActionConfig
    splits: SplitConfig

    def load(self) -> LabelledClips:
        """The clips, mapped."""
        return load_clips(self.clips, ClipStore(self.storage, self.action), self.splits)


class ActionRun:
    """One worker's share of a training: what changes from epoch to epoch, and the best epoch's network."""

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
    def over(self) -> bool:
        """All epochs are done, or validation has not improved for as long as the configuration waits."""
        stale = self.config.patience and self.epoch - 1 - self.best["epoch"] >= self.config.patience
        return self.epoch >= self.config.epochs or bool(stale and self.epoch)

    def train_epoch(self) -> dict[str, float]:
        """One pass over the training clips and one over validation; returns their metrics."""
        config, rows = self.config, self.data.split.train
        self.model.train()
        steps = joined_steps(rows, config.batch_size, self.epoch, config.seed)
        losses = [self.step(step, joined_J) for step, joined_J in steps]
        confusion_KK, loss = confusion_of(self.model, self.data, self.data.split.validation, self.device)
        metrics = {"epoch": self.epoch, "train/loss": float(np.mean(losses))}
        metrics |= {"validation/accuracy": accuracy(confusion_KK), "validation/loss": loss}
        self._choose(metrics)
        self.epoch += 1
        return metrics

    def step(self, step: int, joined_J: np.ndarray[Any, np.dtype[np.int64]]) -> float:
        """One step on a joined batch, of which this worker takes its share; returns the joined loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(step)
        self.optimizer.zero_grad()
        share = self._share(step, joined_J)
        if share.requires_grad:
            share.backward()  # type: ignore[no-untyped-call]
        loss = sum_gradients(self.model.parameters(), share)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimizer.step()
        return float(loss)

    def _share(self, step: int, joined_J: np.ndarray[Any, np.dtype[np.int64]]) -> Tensor:
        """This worker's part of the batch's mean loss: all parts add up to it."""
        mine_B = positions(len(joined_J), *world())
        mine_B = mine_B[mine_B >= 0]
        if not len(mine_B):
            return torch.zeros((), device=self.device)
        windows = take(self.data, joined_J, mine_B, self.config, [self.config.seed, self.epoch, step])
        logits_BK = self.model(torch.from_numpy(windows).to(self.device))
        labels_B = torch.from_numpy(self.data.labels_N[joined_J[mine_B]]).to(self.device)
        total = F.cross_entropy(logits_BK, labels_B, label_smoothing=self.config.label_smoothing, reduction="sum")
        return total / len(joined_J)

    def _rate(self, step: int) -> float:
        each = count_steps(len(self.data.split.train), self.config.batch_size)
        done = (self.epoch * each + step + 1) / max(1, each * self.config.epochs)
        warmup = self.config.warmup
        share = done / warmup if done < warmup else (1 + math.cos(math.pi * (done - warmup) / (1 - warmup))) / 2
        return self.config.learning_rate * share

    def _choose(self, metrics: dict[str, float]) -> None:
        """Keep the network of the best validation accuracy; of equals that of the lower loss."""
        new = (metrics["validation/accuracy"], -metrics["validation/loss"])
        if new > (self.best["accuracy"], -self.best["loss"]):
            state = {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}
            self.best = {"epoch": self.epoch, "accuracy": new[0], "loss": -new[1], "model": state}

    def state(self) -> dict[str, Any]:
        """What a restart needs."""
        parts = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        return {**parts, "epoch": self.epoch, "best": self.best}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.best = state["epoch"], state["best"]


def action_loop(job: ActionJob) -> str | None:
    """Train, and report metrics and a checkpoint after every epoch; last, the best epoch's network and its test.

    Continues from a checkpoint when there is one. The test clips are looked at once, after the choice. Returns how
    training diverged, where it did: raised here, that would be taken for a lost worker and tried again.
    """
    run = ActionRun(job, job.load(), ray.train.torch.get_device())
    if (checkpoint := ray.train.get_checkpoint()) is not None:
        with checkpoint.as_directory() as folder:
            run.restore(torch.load(Path(folder) / _STATE, map_location="cpu", weights_only=True))
    while not run.over:
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
    """Rank 0 brings the checkpoint; all report, which is also where they wait for each other."""
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
