"""Run a frozen network: any number of inputs through passes of a fixed size, with torch or OpenVINO."""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rayreel.encoders.compute import Compute
from rayreel.encoders.encoder import Vectors

Inputs = tuple[NDArray[Any], ...]


class Runtime(Protocol):
    """Forward passes of one network. Each pass takes exactly `rows` inputs."""

    rows: int

    def run(self, batches: Iterable[Inputs]) -> Iterable[Vectors]:
        """Map each batch (the arguments of the network's `forward`, [rows, ...] each) to [rows, dim], in order."""
        ...


def start(network: nn.Module, example: tuple[Tensor, ...], compute: Compute, *, any_length: bool) -> Runtime:
    """Load `network` for raw inputs shaped like `example`, [1, ...] each; `any_length` makes axis 1 dynamic.

    The runtime is not part of an encoder's identity: in fp32 the runtimes agree to a cosine of 0.999 or better.
    """
    if compute.runtime == "torch":
        return TorchRuntime(network, compute)
    from rayreel.encoders.openvino_runtime import OpenVINORuntime  # only available on x86-64

    return OpenVINORuntime(network, example, compute, any_length=any_length)


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


class MixedPrecisionNetwork(nn.Module):
    """`tolerant(sensitive(...))`, to be run with the sensitive part in fp32 and the tolerant part in bf16.

    The vectors then agree with fp32 throughout to a cosine of 0.999. A runtime without fast bf16 runs both in fp32.
    """

    def __init__(self, sensitive: nn.Module, tolerant: nn.Module) -> None:
        super().__init__()
        self.sensitive, self.tolerant = sensitive, tolerant

    def forward(self, *inputs: Tensor) -> Tensor:
        """Map the inputs of the first part to the output of the second."""
        output: Tensor = self.tolerant(self.sensitive(*inputs))
        return output


def encode_rows(inputs: NDArray[Any], runtime: Runtime, dim: int) -> Vectors:
    """Map [N, ...] to [N, dim]."""
    groups = [(np.arange(len(inputs)), (inputs,))]
    return encode_groups(groups, runtime, len(inputs), dim)


def encode_groups(groups: Iterable[tuple[NDArray[np.intp], Inputs]], runtime: Runtime, count: int, dim: int) -> Vectors:
    """Map groups of inputs to [count, dim]; a group is its output rows and arrays of equal shape."""
    batches = [batch for group in groups for batch in _batches(group, runtime.rows)]
    out_ND = np.empty((count, dim), dtype=np.float32)
    vectors = runtime.run(tuple(_padded(array, runtime.rows) for array in arrays) for _, arrays in batches)
    for (rows, _), vectors_BD in zip(batches, vectors, strict=True):
        out_ND[rows] = vectors_BD[: len(rows)]
    return out_ND


def _batches(group: tuple[NDArray[np.intp], Inputs], size: int) -> Iterator[tuple[NDArray[np.intp], Inputs]]:
    rows, arrays = group
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        yield rows[part], tuple(array[part] for array in arrays)


def _padded(array: NDArray[Any], rows: int) -> NDArray[Any]:
    """Repeat the last row rather than add zeros: a text without tokens has no mean."""
    missing = rows - len(array)
    return np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) if missing else array
