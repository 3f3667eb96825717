"""Load a network into a runtime."""

from torch import Tensor, nn

from rayreel.encoders.compute import Compute
from rayreel.encoders.runtime import Runtime
from rayreel.encoders.torch_runtime import TorchRuntime


def start(network: nn.Module, example: tuple[Tensor, ...], compute: Compute, *, any_length: bool) -> Runtime:
    """Load `network` for raw inputs shaped like `example`, [1, ...] each; `any_length` makes axis 1 dynamic.

    The runtime is not part of an encoder's identity: in fp32 the runtimes agree to a cosine of 0.999 or better.
    """
    if compute.runtime == "torch":
        return TorchRuntime(network, compute)
    from rayreel.encoders.openvino_runtime import OpenVINORuntime  # only available on x86-64

    return OpenVINORuntime(network, example, compute, any_length=any_length)
