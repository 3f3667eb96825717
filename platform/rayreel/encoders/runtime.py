"""The interface of engines that run a frozen network."""

from collections.abc import Iterable
from typing import Any, Protocol

from numpy.typing import NDArray

from rayreel.encoders.encoder import Vectors

Inputs = tuple[NDArray[Any], ...]


class Runtime(Protocol):
    """Forward passes of one network. Each pass takes exactly `rows` inputs."""

    rows: int

    def run(self, batches: Iterable[Inputs]) -> Iterable[Vectors]:
        """Map each batch (the arguments of the network's `forward`, [rows, ...] each) to [rows, dim], in order."""
        ...
