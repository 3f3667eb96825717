"""The layout of a frame's colours: a frame encoder without weights."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rayreel.encoders.compute import Compute
from rayreel.encoders.encoder import Vectors

SIZE, CELLS = 224, 8


class ColourLayout:
    """The mean colour of 8 x 8 cells of a frame, in [0, 1]: [N, 224, 224, 3] -> [N, 192].

    As MPEG-7's Colour Layout Descriptor (Kasutani and Yamada 2001), without its transform.
    """

    dim, frame_size, window = CELLS * CELLS * 3, SIZE, 1

    def __init__(self, identity: str) -> None:
        self.identity = identity

    def encode(self, frames_NHWC: NDArray[np.uint8]) -> Vectors:
        """Map RGB frames to their cells, row by row."""
        side = SIZE // CELLS
        cells = frames_NHWC.reshape(-1, CELLS, side, CELLS, side, 3).mean(axis=(2, 4), dtype=np.float32)
        found_ND: Vectors = cells.reshape(len(frames_NHWC), self.dim) / 255
        return found_ND


def load_colour_layout(folder: Path | None, identity: str, compute: Compute) -> ColourLayout:
    """Load the layout. It has no files; the signature is that of every loader."""
    del folder, compute
    return ColourLayout(identity)
