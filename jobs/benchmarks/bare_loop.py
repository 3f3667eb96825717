"""The shortest training loop: torch and nothing around it, for others to be measured by."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import ray
import torch
from torch import Tensor, nn

from rayreel.encoders.encoder import Modality
from rayreel.features.matrix import FeatureMatrix
from rayreel.tower.batch import FeatureBatch
from rayreel.tower.losses.global_batch import GlobalBatch
from rayreel.training.config import Ingest
from rayreel.training.job import TrainJob, prepare
from rayreel.training.loop import make_learner


def bare(job: TrainJob, threads: int) -> float:
    """Videos per second of the shortest loop with the same tower, loss and optimiser, in a process of its own."""
    task = ray.remote(num_cpus=threads, max_retries=0)(bare_loop)
    rates: Sequence[float] = ray.get(task.remote(job, threads))
    return statistics.median(rates[1:])


def bare_loop(job: TrainJob, threads: int) -> list[float]:
    """Videos per second of each epoch.

    Features in memory, fixed halves of a video as its views; nothing drawn, checked or reported.
    """
    torch.set_num_threads(threads)
    ready = prepare(replace(job, train=job.train.model_copy(update={"ingest": Ingest.MEMORY})))
    rows, halves = torch.from_numpy(ready.split.train), Halves.of(ready.matrix)
    learner, rates = make_learner(job, ready), []
    learner.tower.train()
    for _ in range(job.train.epochs):
        started = time.perf_counter()
        for chosen in torch.split(rows[torch.randperm(len(rows))], job.train.batch_size):
            a, b = halves.views(chosen)
            loss = learner.loss(learner.tower(a), learner.tower(b), GlobalBatch.of_one(chosen))
            learner.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(learner.parameters, job.train.clip_norm)
            learner.optimizer.step()
        rates.append(len(rows) / (time.perf_counter() - started))
    return rates


@dataclass(frozen=True, slots=True)
class Halves:
    """All features as one tensor [N, n, D] per modality; every other vector is one view, the rest the other."""

    vectors: dict[Modality, Tensor]

    @staticmethod
    def of(matrix: FeatureMatrix) -> "Halves":
        """All videos must have the same number of vectors."""
        shapes = {m: (len(matrix), -1, v.values.shape[1]) for m, v in matrix.vectors.items()}
        return Halves({m: torch.tensor(v.values).view(shapes[m]) for m, v in matrix.vectors.items()})

    def views(self, chosen: Tensor) -> tuple[FeatureBatch, FeatureBatch]:
        """Two views of each chosen row."""
        shown = {m: x[chosen].float() for m, x in self.vectors.items()}
        a, b = ({m: _every_other(x, first) for m, x in shown.items()} for first in (0, 1))
        return FeatureBatch(shown, a, chosen), FeatureBatch(shown, b, chosen)


def _every_other(x_BND: Tensor, first: int) -> Tensor:
    """[B, N] mask; a single vector is in both halves."""
    count = x_BND.shape[1]
    mask_N = (torch.arange(count) % 2 == first) | (count == 1)
    return mask_N.expand(len(x_BND), count)
