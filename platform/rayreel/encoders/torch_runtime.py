"""Forward passes with torch, on any device."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rayreel.encoders.compute import Compute
from rayreel.encoders.encoder import Vectors
from rayreel.encoders.runtime import Inputs


class TorchRuntime:
    """A network on one device, in fp32 or under autocast. Convolutions run channels-last, like decoded frames."""

    def __init__(self, network: nn.Module, compute: Compute) -> None:
        self.rows = compute.rows
        self._device, self._dtype = compute.device, compute.dtype
        has_time = any(parameter.dim() == 5 for parameter in network.parameters())
        order = torch.channels_last_3d if has_time else torch.channels_last
        network = network.eval().to(compute.device, memory_format=order)  # type: ignore[call-overload]
        self._network = torch.compile(network) if compute.compile else network

    def run(self, batches: Iterable[Inputs]) -> Iterable[Vectors]:
        """Map each batch to [rows, dim] float32. All GPU work is queued before the first result is read."""
        outputs = [self._forward(inputs) for inputs in batches]
        return [output.cpu().numpy() for output in outputs]

    def _forward(self, inputs: Inputs) -> Tensor:
        reduced = self._dtype != torch.float32
        with torch.inference_mode(), torch.autocast(self._device.type, self._dtype, enabled=reduced):
            output: Tensor = self._network(*(self._to_device(array) for array in inputs))
            return output.float()

    def _to_device(self, array: NDArray[np.generic]) -> Tensor:
        # Copied in C order: arrays from Ray are read-only, and torch rejects negative strides.
        tensor = torch.from_numpy(array.copy(order="C"))
        if self._device.type == "cuda":
            return tensor.pin_memory().to(self._device, non_blocking=True)
        return tensor.to(self._device)
