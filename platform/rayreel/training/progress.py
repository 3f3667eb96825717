"""The progress of a run: position, losses and best score; part of every checkpoint."""

from dataclasses import asdict, dataclass
from typing import Any, Self

from rayreel.errors import RayreelError
from rayreel.training.step import StepResult

_SMOOTH = 0.95
_SETTLED = 20


class Diverged(RayreelError):
    """The loss is not finite, or grows instead of falling."""


@dataclass(slots=True)
class Progress:
    """The next step, sums over the current epoch, and the best epoch so far.

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

    def end_epoch(self, score: float) -> None:
        """Record the epoch's validation score and advance to the next epoch."""
        if score > self.best_score:
            self.best_score, self.best_epoch = score, self.epoch
        self.epoch, self.step = self.epoch + 1, 0
        self.loss_sum = self.norm_sum = 0.0
        self.taken = 0

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
