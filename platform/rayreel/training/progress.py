"""The course of a run: learning rate, position, losses and best score. Shared by all training loops."""

import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Self

from torch import Tensor

from rayreel.errors import RayreelError
from rayreel.training.action.config import ActionConfig
from rayreel.training.config import Schedule, TrainConfig

_SMOOTH = 0.95
_SETTLED = 20


class Diverged(RayreelError):
    """The loss is not finite, or grows instead of falling."""


class StepResult:
    """Result of a step: loss of the global batch, gradient norm before clipping, and learning rate.

    Loss and norm may be tensors that a GPU still computes: reading them waits for it.
    """

    def __init__(self, loss: float | Tensor, norm: float | Tensor, rate: float) -> None:
        self._loss, self._norm, self.rate = loss, norm, rate

    @cached_property
    def loss(self) -> float:
        """Loss of the global batch."""
        return float(self._loss)

    @cached_property
    def norm(self) -> float:
        """Norm of the gradient before clipping."""
        return float(self._norm)

    @property
    def finite(self) -> bool:
        """Whether loss and gradient are finite."""
        return math.isfinite(self.loss) and math.isfinite(self.norm)


def learning_rate(number: int, steps: int, config: TrainConfig | ActionConfig) -> float:
    """Return the rate of step `number` of `steps`: linear warm-up, then cosine decay to 0 or constant.

    Depends on the step number only, so that a restart continues exactly. Source: Loshchilov & Hutter 2017.
    """
    warmup = round(config.warmup * steps)
    if number < warmup:
        return config.learning_rate * (number + 1) / warmup
    if isinstance(config, TrainConfig) and config.schedule is Schedule.CONSTANT:
        return config.learning_rate
    return config.learning_rate * (1 + math.cos(math.pi * (number - warmup) / max(1, steps - warmup))) / 2


@dataclass(slots=True)
class Progress:
    """The next step, sums over the current epoch, and the best epoch so far; part of every checkpoint.

    taken: steps of the current epoch with finite results; rate: the last learning rate; smooth: exponentially
    smoothed loss; reference: its largest value over the first 20 steps.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    norm_sum: float = 0.0
    taken: int = 0
    rate: float = 0.0
    smooth: float = 0.0
    reference: float = 0.0
    best_score: float = float("-inf")
    best_tie: float = 0.0
    best_epoch: int = -1

    def add(self, step: int, result: StepResult) -> None:
        """Record the result of a step."""
        self.step, self.rate = step + 1, result.rate
        if not result.finite:  # fp16 is still searching for its loss scale
            return
        first = self.epoch == 0 and self.taken == 0
        self.loss_sum += result.loss
        self.norm_sum += result.norm
        self.taken += 1
        self.smooth = result.loss if first else _SMOOTH * self.smooth + (1 - _SMOOTH) * result.loss
        if self.epoch == 0 and self.taken <= _SETTLED:
            self.reference = max(self.reference, self.smooth)

    def grows(self, factor: float) -> bool:
        """Return whether the smoothed loss is more than `factor` times its reference."""
        return self.reference > 0 and self.smooth > factor * self.reference

    def metrics(self) -> dict[str, float]:
        """Return the training metrics of the current epoch so far."""
        count = max(1, self.taken)
        return {
            "train/loss": self.loss_sum / count,
            "train/gradient_norm": self.norm_sum / count,
            "train/learning_rate": self.rate,
        }

    def end_epoch(self, score: float, tie: float = 0.0) -> bool:
        """Record the epoch's validation score and advance; returns whether it is the best. The higher `tie` decides."""
        best = (score, tie) > (self.best_score, self.best_tie)
        if best:
            self.best_score, self.best_tie, self.best_epoch = score, tie, self.epoch
        self.epoch, self.step = self.epoch + 1, 0
        self.loss_sum = self.norm_sum = 0.0
        self.taken = 0
        return best

    def stale(self, patience: int) -> bool:
        """Return whether the last `patience` epochs brought no improvement; always False for 0."""
        return patience > 0 and self.epoch - 1 - self.best_epoch >= patience

    def state(self) -> dict[str, Any]:
        """Return the fields as plain numbers for a checkpoint."""
        return asdict(self)

    @classmethod
    def of(cls, state: dict[str, Any]) -> Self:
        """Restore from `state`."""
        return cls(**state)
