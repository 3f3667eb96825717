"""One step: gradients of the global batch, and what the optimiser makes of them."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rayreel.tower.batch import FeatureBatch
from rayreel.tower.losses.pair_loss import PairLoss
from rayreel.tower.tower import VideoTower
from rayreel.training.batches import PairBatch
from rayreel.training.config import Precision, Schedule, TrainConfig
from rayreel.training.distributed import all_gather_with_grad, sum_gradients, world
from rayreel.training.gradcache import backward

# fp16 halves its loss scale after each overflow; from 65,536 down to 1 it takes 16 steps, of which none is wrong.
_OVERFLOWS = 32


@dataclass(frozen=True, slots=True)
class StepResult:
    """A step that was taken: the joined loss, the gradient's length before clipping, and the learning rate."""

    loss: float
    norm: float
    rate: float

    @property
    def finite(self) -> bool:
        """Whether it could be applied."""
        return math.isfinite(self.loss) and math.isfinite(self.norm)


class Learner:
    """Tower, loss and optimiser on one device; the same on every worker, before each step and after it."""

    def __init__(
        self, tower: VideoTower, loss: PairLoss, config: TrainConfig, steps: int, device: torch.device | str = "cpu"
    ) -> None:
        self.device = torch.device(device)
        self.tower, self.loss = tower.to(self.device), loss.to(self.device)
        self.config, self.steps = config, steps
        self.dtype = compute_type(config.precision, self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype is torch.float16)
        self.parameters = [*self.tower.parameters(), *self.loss.parameters()]
        self.optimizer = torch.optim.AdamW(_groups(self.parameters, config.weight_decay), lr=config.learning_rate)
        self._overflows = 0

    def step(self, batch: PairBatch, number: int, seed: tuple[int, ...]) -> StepResult:
        """Take step `number` of the run. `seed` decides the dropout; workers drop different features.

        A loss or gradient that is not finite changes nothing.
        """
        self.tower.train()
        torch.manual_seed(int(np.random.SeedSequence([*seed, world()[0]]).generate_state(1, np.uint64)[0] >> 1))
        rate = learning_rate(number, self.steps, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self.gradients(batch.to(self.device))
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm)
        taken = StepResult(float(loss), float(norm), rate)
        if taken.finite or self._may_overflow():
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self._overflows = 0 if taken.finite else self._overflows + 1
        return taken

    def gradients(self, batch: PairBatch) -> Tensor:
        """Put the gradients of the global batch into the parameters (scaled, in fp16); returns the joined loss."""
        self.optimizer.zero_grad()
        share = backward(
            self.embed,
            self.loss,
            batch,
            gather=all_gather_with_grad,
            micro_batch=self.config.micro_batch,
            scale=self.scaler.scale,
        )
        return sum_gradients(self.parameters, share)

    def embed(self, batch: FeatureBatch) -> Tensor:
        """Unit embeddings, computed in the configured precision."""
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            embedded: Tensor = self.tower(batch)
            return embedded

    @property
    def broken(self) -> bool:
        """Whether the last step left something that is no number; fp16 may look for its loss scale for a while."""
        if not math.isfinite(self.loss.temperature or 0.0):
            return True
        return self._overflows > (_OVERFLOWS if self.scaler.is_enabled() else 0)

    def state(self) -> dict[str, Any]:
        """All that a later step depends on."""
        return {
            "tower": self.tower.state_dict(),
            "loss": self.loss.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        for name in ("tower", "loss", "optimizer", "scaler"):
            getattr(self, name).load_state_dict(state[name])

    def _may_overflow(self) -> bool:
        return self.scaler.is_enabled() and self._overflows < _OVERFLOWS


def compute_type(precision: Precision, device: torch.device) -> torch.dtype | None:
    """What autocast should use; None for plain fp32."""
    if precision is Precision.AUTO:
        has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if has_bf16 else None
    return {Precision.FP32: None, Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}[precision]


def learning_rate(number: int, steps: int, config: TrainConfig) -> float:
    """Of step `number` of `steps`: rising to the configured one in the warm-up, then along half a cosine, or constant.

    A function of the number alone, so that a restart goes on as if nothing had been. Source: Loshchilov & Hutter 2017.
    """
    rising = round(config.warmup * steps)
    if number < rising:
        return config.learning_rate * (number + 1) / rising
    if config.schedule is Schedule.CONSTANT:
        return config.learning_rate
    return config.learning_rate * (1 + math.cos(math.pi * (number - rising) / max(1, steps - rising))) / 2


def _groups(parameters: list[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Only matrices decay: to pull a bias or a temperature to zero regularises nothing."""
    matrices = [p for p in parameters if p.ndim > 1]
    others = [p for p in parameters if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
