"""A network of which one part bears less precision than the other."""

from torch import Tensor, nn


class Halves(nn.Module):
    """`robust(delicate(...))`: with the delicate part in fp32 and the robust one in bf16, the vectors stay the same.

    The same is a cosine of 0.999 to fp32 throughout. A runtime that finds no gain in bf16 computes all of it in fp32.
    """

    def __init__(self, delicate: nn.Module, robust: nn.Module) -> None:
        super().__init__()
        self.delicate, self.robust = delicate, robust

    def forward(self, *inputs: Tensor) -> Tensor:
        """Map the inputs of the first part to the output of the second."""
        output: Tensor = self.robust(self.delicate(*inputs))
        return output
