"""How far a run is and how it goes; kept in every checkpoint, so that a restart knows too."""

from dataclasses import asdict, dataclass
from typing import Any, Self

from rayreel.errors import RayreelError
from rayreel.training.step import StepResult

_SMOOTH = 0.95
_SETTLED = 20


class Diverged(RayreelError):
    """The loss is no number any more, or grows instead of falling."""


@dataclass(slots=True)
class Progress:
    """The next step, and what the steps and epochs so far have given."""

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

    def add(self, step: int, taken: StepResult) -> None:
        """A step has been taken."""
        self.step, self.rate = step + 1, taken.rate
        if not taken.finite:  # fp16 looking for its scale
            return
        first = self.epoch == 0 and self.taken == 0
        self.loss_sum += taken.loss
        self.norm_sum += taken.norm
        self.taken += 1
        self.smooth = taken.loss if first else _SMOOTH * self.smooth + (1 - _SMOOTH) * taken.loss
        if self.epoch == 0 and self.taken <= _SETTLED:
            self.reference = max(self.reference, self.smooth)

    def grows(self, factor: float) -> bool:
        """Whether the smoothed loss is `factor` times the largest of its first values."""
        return self.reference > 0 and self.smooth > factor * self.reference

    def metrics(self) -> dict[str, float]:
        """Of the epoch so far."""
        count = max(1, self.taken)
        return {
            "train/loss": self.loss_sum / count,
            "train/gradient_norm": self.norm_sum / count,
            "train/learning_rate": self.rate,
        }

    def end_epoch(self, score: float) -> None:
        """The epoch is over, with this validation score."""
        if score > self.best_score:
            self.best_score, self.best_epoch = score, self.epoch
        self.epoch, self.step = self.epoch + 1, 0
        self.loss_sum = self.norm_sum = 0.0
        self.taken = 0

    def stale(self, patience: int) -> bool:
        """Whether the last `patience` epochs brought nothing better; never with 0."""
        return patience > 0 and self.epoch - 1 - self.best_epoch >= patience

    def state(self) -> dict[str, Any]:
        """Plain numbers, for a checkpoint."""
        return asdict(self)

    @classmethod
    def of(cls, state: dict[str, Any]) -> Self:
        """From `state`."""
        return cls(**state)
