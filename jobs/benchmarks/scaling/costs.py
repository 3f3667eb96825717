"""What blocks cost: measured ones, drawn from again and again."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Seconds = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Overhead:
    """What a block costs Ray: the driver, which does one thing at a time, and the nodes. Core-seconds."""

    driver_s: float = 0.0
    node_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Costs:
    """Measured blocks of `videos` videos: core-seconds of decoding, encoding (GPU-seconds on a GPU) and storing, [N].

    The three of a block belong together: long videos are dear in all of them.
    """

    videos: int
    decode_s: Seconds
    encode_s: Seconds
    store_s: Seconds
    overhead: Overhead = Overhead()

    def draw(self, blocks: int, videos: int, rng: Generator) -> tuple[Seconds, Seconds, Seconds]:
        """Costs of so many blocks of so many videos, each [blocks].

        Bootstrap (Efron 1979): a block is made of measured ones, drawn with replacement; where they are not a divisor
        of it, the last one counts in part.
        """
        parts = -(-videos // self.videos)
        weight = np.full(parts, 1.0)
        weight[-1] = (videos - (parts - 1) * self.videos) / self.videos
        drawn = rng.integers(len(self.decode_s), size=(blocks, parts))
        decode, encode, store = (cost[drawn] @ weight for cost in (self.decode_s, self.encode_s, self.store_s))
        return decode, encode, store

    @property
    def decode_core_ms(self) -> float:
        """Mean core time of decoding one video."""
        return 1000 * float(self.decode_s.mean()) / self.videos

    @property
    def encode_ms(self) -> float:
        """Mean core time (GPU time on a GPU) of encoding one video."""
        return 1000 * float(self.encode_s.mean()) / self.videos
