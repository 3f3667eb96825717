"""From a network to a runtime that is ready to run it."""

from torch import Tensor, nn

from rayreel.encoders.compute import Compute
from rayreel.encoders.runtime import Runtime
from rayreel.encoders.torch_runtime import TorchRuntime


def start(network: nn.Module, example: tuple[Tensor, ...], compute: Compute, *, any_length: bool) -> Runtime:
    """Get `network` ready for raw inputs like `example`, [1, ...] each; `any_length` leaves axis 1 open.

    Which runtime it is is no part of an encoder's identity: in fp32 they agree at a cosine of 0.999 and better.
    """
    if compute.runtime == "torch":
        return TorchRuntime(network, compute)
    from rayreel.encoders.openvino_runtime import OpenVINORuntime  # absent from machines other than x86-64

    return OpenVINORuntime(network, example, compute, any_length=any_length)
