"""Run a frozen network: any number of inputs through passes of a fixed size, with torch or OpenVINO."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from rayreel.encoders.compute import Compute
from rayreel.encoders.encoder import Vectors
from rayreel.errors import RayreelError

log = logging.getLogger(__name__)

Inputs = tuple[NDArray[Any], ...]
# Cosine of the same vector in OpenVINO and in torch, below which OpenVINO is not used.
AGREEMENT, AGREEMENT_BF16 = 0.999, 0.98


class Runtime(Protocol):
    """Forward passes of one network."""

    rows: int

    def run(self, batches: Iterable[Inputs]) -> Iterable[Vectors]:
        """Map each batch to vectors, in order; a last pass may be padded, and has then vectors for the padding.

        A batch is the arguments of the network's `forward`, [B, ...] each with B <= `rows`.
        """
        ...


def start(network: nn.Module, example: tuple[Tensor, ...], compute: Compute, *, any_length: bool) -> Runtime:
    """Load `network` for raw inputs shaped like `example`, [1, ...] each; `any_length` makes axis 1 dynamic.

    The runtime is not part of an encoder's identity: in fp32 the runtimes agree to a cosine of 0.999 or better.
    """
    if compute.runtime == "torch":
        return torch_runtime(network, compute)
    from rayreel.encoders.openvino_runtime import compiled_runtime  # only available on x86-64

    return compiled_runtime(network, example, compute, any_length=any_length)


def start_checked(
    network: nn.Module, probes: Sequence[tuple[Tensor, ...]], compute: Compute, *, any_length: bool
) -> tuple[Runtime, int]:
    """As `start`, for a network that is not known before its checkpoint is read. Returns its output width, too.

    `probes` are inputs of one row each; with `any_length`, of several lengths. A network that OpenVINO cannot convert,
    or computes differently, runs in torch, and one that half precision changes, in fp32, both with a warning. Raises
    RayreelError if the network is not deterministic.
    """
    with torch.inference_mode():
        expected, again = (torch.cat([network.eval()(*probe) for probe in probes]) for _ in range(2))
    if not torch.equal(expected, again):
        raise RayreelError("the network gives other vectors at each pass; it is meant for training, not for features")
    if compute.runtime == "openvino":
        from rayreel.encoders.openvino_runtime import FAILURES

        try:
            runtime = start(network, probes[0], compute, any_length=any_length)
            found = list(runtime.run(tuple(x.numpy() for x in probe) for probe in probes))
            cosine = F.cosine_similarity(expected, torch.from_numpy(np.concatenate(found)), dim=1).min()
            if cosine > (AGREEMENT if compute.dtype == torch.float32 else AGREEMENT_BF16):
                return runtime, expected.shape[1]
            problem = f"its vectors have a cosine of {cosine:.4f} with torch's"
        except FAILURES as error:
            problem = str(error).strip().partition("\n")[0]
        log.warning("torch runs this network, because OpenVINO cannot: %s", problem)
    if compute.device.type == "cuda" and compute.mixed:
        return _start_halved(network, probes, expected, compute), expected.shape[1]
    return torch_runtime(network, compute), expected.shape[1]


def _start_halved(
    network: nn.Module, probes: Sequence[tuple[Tensor, ...]], expected: Tensor, compute: Compute
) -> Runtime:
    """Return a runtime in half precision if its vectors are the expected ones, else in fp32, with a warning."""
    from rayreel.encoders.staged import StagedRuntime  # imports this module

    halved = StagedRuntime(deepcopy(network), compute)
    found = [halved.forward(*(x.to(compute.device) for x in probe)).cpu() for probe in probes]
    cosine = F.cosine_similarity(expected, torch.cat(found), dim=1).min()
    if cosine > AGREEMENT:
        return halved
    log.warning("the network runs in fp32: its vectors in %s have a cosine of %.4f with fp32", compute.dtype, cosine)
    return StagedRuntime(network, replace(compute, dtype=torch.float32))


def torch_runtime(network: nn.Module, compute: Compute) -> Runtime:
    """Return the runtime of a network on this device, without a check."""
    if compute.device.type != "cuda":
        return TorchRuntime(network, compute)
    from rayreel.encoders.staged import StagedRuntime  # imports this module

    return StagedRuntime(network, compute)


def channels_last(network: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to a device, with convolutions channels-last, like decoded frames."""
    has_time = any(parameter.dim() == 5 for parameter in network.parameters())
    order = torch.channels_last_3d if has_time else torch.channels_last
    return network.to(device, memory_format=order)  # type: ignore[call-overload, no-any-return]


class TorchRuntime:
    """A network on a CPU or on Apple's GPU, in fp32 or under autocast."""

    def __init__(self, network: nn.Module, compute: Compute) -> None:
        self.rows = compute.rows
        self._device, self._dtype = compute.device, compute.dtype
        network = channels_last(network.eval(), compute.device)
        self._network = torch.compile(network) if compute.compile else network

    def run(self, batches: Iterable[Inputs]) -> Iterable[Vectors]:
        """Map each batch to [rows, dim] float32. All work is queued before the first result is read."""
        outputs = [self._forward(tuple(_padded(array, self.rows) for array in inputs)) for inputs in batches]
        return [output.cpu().numpy() for output in outputs]

    def _forward(self, inputs: Inputs) -> Tensor:
        reduced = self._dtype != torch.float32
        with torch.inference_mode(), torch.autocast(self._device.type, self._dtype, enabled=reduced):
            output: Tensor = self._network(*(self._to_device(array) for array in inputs))
            return output.float()

    def _to_device(self, array: NDArray[np.generic]) -> Tensor:
        # Copied in C order: arrays from Ray are read-only, and torch rejects negative strides.
        return torch.from_numpy(array.copy(order="C")).to(self._device)


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
    vectors = runtime.run(arrays for _, arrays in batches)
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
