"""What each Ray Train worker does."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray.train
import ray.train.torch
import torch
from torch import Tensor, nn

from rayreel.evaluation.baselines import by_embedding
from rayreel.evaluation.retrieval import Task, measure
from rayreel.evaluation.splits import Split, SplitConfig, groups_of, split_groups
from rayreel.features.key import EncoderKey
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.store import FeatureStore
from rayreel.storage import Storage
from rayreel.tower.batch import FeatureBatch
from rayreel.tower.embed import collate, embed
from rayreel.tower.losses import InfoNCE
from rayreel.tower.save import save_tower
from rayreel.tower.tower import TowerConfig, VideoTower
from rayreel.training.config import TrainConfig
from rayreel.training.distributed import all_gather_with_grad
from rayreel.training.order import steps
from rayreel.training.views import two_views

SCORE = "validation/recall@10"
_STATE = "state.pt"


@dataclass(frozen=True, slots=True)
class TrainJob:
    """All that a worker needs to know; travels to every worker."""

    storage: str
    key: EncoderKey
    tower: TowerConfig
    train: TrainConfig
    splits: SplitConfig


class Contrast(nn.Module):
    """Tower and loss as one module, so that DDP sees every parameter of a step."""

    def __init__(self, tower: VideoTower, loss: InfoNCE, rank: int, workers: int) -> None:
        super().__init__()
        self.tower, self.loss = tower, loss
        self.rank, self.workers = rank, workers

    def forward(self, a: FeatureBatch, b: FeatureBatch) -> Tensor:
        """The loss of two views of the same videos."""
        gather = all_gather_with_grad if self.workers > 1 else lambda x: x
        loss: Tensor = self.loss(self.tower(a), self.tower(b), a.ids_B, gather, rank=self.rank, workers=self.workers)
        return loss


def train_loop(job: TrainJob) -> None:
    """Train, and after every epoch report metrics and a checkpoint. Continues from a checkpoint when there is one."""
    context = ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    matrix = FeatureMatrix.from_table(FeatureStore(Storage(job.storage), job.key).read())
    groups = groups_of(matrix, job.splits)
    split = split_groups(groups, job.splits)
    validate = validation_task(matrix, split, groups)
    torch.manual_seed(job.train.seed)
    tower = VideoTower(job.tower, job.key.dims)
    tower.fit_inputs({modality: vectors.of(split.train) for modality, vectors in matrix.vectors.items()})
    contrast = Contrast(tower, InfoNCE(job.train.temperature), rank, workers)
    model = ray.train.torch.prepare_model(contrast)
    optimizer = torch.optim.AdamW(model.parameters(), lr=job.train.learning_rate, weight_decay=job.train.weight_decay)
    for epoch in range(_resume(contrast, optimizer), job.train.epochs):
        loss = _epoch(job.train, model, optimizer, matrix, split, epoch=epoch, rank=rank, workers=workers)
        metrics = {"epoch": epoch, "train/loss": loss, "train/temperature": contrast.loss.temperature}
        scores = measure(validate, by_embedding(embed(contrast.tower, matrix)))
        metrics |= {f"validation/{name}": score for name, score in scores.items()}
        _report(metrics, contrast, optimizer, epoch, rank)


def validation_task(matrix: FeatureMatrix, split: Split, groups: list[str]) -> Task:
    """Queries from validation, candidates from training and validation: the test part stays unseen."""
    seen = np.sort(np.concatenate([split.train, split.validation]))
    return Task.of(split.validation, seen, matrix.column("category"), groups)


def _epoch(
    config: TrainConfig,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    matrix: FeatureMatrix,
    split: Split,
    *,
    epoch: int,
    rank: int,
    workers: int,
) -> float:
    """One pass; returns the mean loss over steps and workers."""
    model.train()
    device = ray.train.torch.get_device()
    total, count = torch.zeros(()), 0
    for step, rows in enumerate(steps(split.train, config.batch_size, epoch, config.seed, rank=rank, workers=workers)):
        random = torch.Generator().manual_seed(hash((config.seed, epoch, step, rank)) % 2**63)
        batch = collate(matrix, np.maximum(rows, 0))
        batch = FeatureBatch(batch.vectors, batch.mask, torch.from_numpy(rows))
        a, b = two_views(batch, config.modality_dropout, random)
        optimizer.zero_grad()
        loss = model(a.to(device), b.to(device))
        loss.backward()
        optimizer.step()
        total, count = total + loss.detach().cpu(), count + 1
    if workers > 1:
        torch.distributed.all_reduce(total)
    return float(total) / workers / max(1, count)


def _resume(contrast: Contrast, optimizer: torch.optim.Optimizer) -> int:
    """Load the last checkpoint, if any; returns the epoch to go on with."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return 0
    with checkpoint.as_directory() as folder:
        state: dict[str, Any] = torch.load(Path(folder) / _STATE, map_location="cpu", weights_only=True)
    contrast.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["epoch"]) + 1


def _report(
    metrics: dict[str, float], contrast: Contrast, optimizer: torch.optim.Optimizer, epoch: int, rank: int
) -> None:
    """Rank 0 brings the checkpoint; all report, which is also where they wait for each other."""
    if rank != 0:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        save_tower(contrast.tower, Path(folder))
        state = {"model": contrast.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
        torch.save(state, Path(folder) / _STATE)
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))
