"""One training step: gradients of the global batch, and the optimiser update."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rayreel.tower.batch import FeatureBatch
from rayreel.tower.losses.pair_loss import PairLoss
from rayreel.tower.tower import VideoTower
from rayreel.training.batches import PairBatch
from rayreel.training.config import Precision, TrainConfig
from rayreel.training.distributed import all_gather_with_grad, sum_gradients, world
from rayreel.training.gradcache import backward
from rayreel.training.progress import StepResult, learning_rate

# fp16 halves its loss scale after each overflow; up to 16 overflows, from 65,536 down to 1, are normal.
_MAX_OVERFLOWS = 32


class Learner:
    """Tower, loss and optimiser on one device; identical on all workers before and after each step.

    With `deferred`, the default on CUDA, a step does not wait for its result, so that the device never waits for the
    next one: it decides itself to skip the update. Not in fp16, whose scaler reads each result.
    """

    def __init__(
        self,
        tower: VideoTower,
        loss: PairLoss,
        config: TrainConfig,
        steps: int,
        device: torch.device | str = "cpu",
        *,
        deferred: bool | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.tower, self.loss = tower.to(self.device), loss.to(self.device)
        self.config, self.steps = config, steps
        self.dtype = compute_type(config.precision, self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype is torch.float16)
        self.parameters = [*self.tower.parameters(), *self.loss.parameters()]
        deferrable = not self.scaler.is_enabled()
        self.deferred = deferrable and (self.device.type == "cuda" if deferred is None else deferred)
        self.optimizer = torch.optim.AdamW(
            _groups(self.parameters, config.weight_decay), lr=config.learning_rate, fused=self.deferred or None
        )
        self._overflows = 0

    def step(self, batch: PairBatch, number: int, seed: tuple[int, ...]) -> StepResult:
        """Run step `number`. `seed` determines the dropout, which differs between workers.

        If the loss or the gradient is not finite, the parameters stay unchanged.
        """
        self.tower.train()
        torch.manual_seed(int(np.random.SeedSequence([*seed, world()[0]]).generate_state(1, np.uint64)[0] >> 1))
        rate = learning_rate(number, self.steps, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self.gradients(batch.to(self.device))
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm)
        result = StepResult(loss, norm, rate)
        if self.deferred:
            # As torch's GradScaler tells a fused optimiser to skip an update.
            self.optimizer.found_inf = (~torch.isfinite(loss + norm)).float()  # type: ignore[attr-defined]
            self.optimizer.step()
            return result
        if result.finite or self._may_overflow():
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self._overflows = 0 if result.finite else self._overflows + 1
        return result

    def gradients(self, batch: PairBatch) -> Tensor:
        """Compute the gradients of the global batch (scaled, in fp16) and return its loss."""
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
        """Return unit embeddings, computed in the configured precision."""
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            embedded: Tensor = self.tower(batch)
            return embedded

    @property
    def broken(self) -> bool:
        """Whether loss, gradient or temperature is not finite; fp16 may overflow some times to find its loss scale."""
        if not math.isfinite(self.loss.temperature or 0.0):
            return True
        return self._overflows > (_MAX_OVERFLOWS if self.scaler.is_enabled() else 0)

    def state(self) -> dict[str, Any]:
        """Return the complete state for a checkpoint."""
        return {
            "tower": self.tower.state_dict(),
            "loss": self.loss.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Restore from `state`."""
        groups = [{**group, "fused": self.deferred or None} for group in state["optimizer"]["param_groups"]]
        here = state | {"optimizer": state["optimizer"] | {"param_groups": groups}}  # it may be of another device
        for name in ("tower", "loss", "optimizer", "scaler"):
            getattr(self, name).load_state_dict(here[name])

    def _may_overflow(self) -> bool:
        return self.scaler.is_enabled() and self._overflows < _MAX_OVERFLOWS


def compute_type(precision: Precision, device: torch.device) -> torch.dtype | None:
    """Return the autocast dtype; None for plain fp32."""
    if precision is Precision.AUTO:
        has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if has_bf16 else None
    return {Precision.FP32: None, Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}[precision]


def _groups(parameters: list[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Apply weight decay to matrices only: decaying biases or a temperature does not regularise."""
    matrices = [p for p in parameters if p.ndim > 1]
    others = [p for p in parameters if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
