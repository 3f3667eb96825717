"""High dynamic range signals, implemented from the standards independently of the code under test."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

TO_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])

Signal = Callable[[NDArray[np.float64]], NDArray[np.uint16]]


def pq(nits: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Convert nits to a signal from 0 to 65535 by SMPTE ST 2084."""
    y = (np.asarray(nits, dtype=np.float64) / 10_000) ** 0.1593017578125
    return np.round(((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375 * 65535).astype(np.uint16)


def hlg(nits: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Convert nits to a signal by ITU-R BT.2100: inverse system gamma of 1.2 at 1,000 nits, then the camera's OETF."""
    light = np.asarray(nits, dtype=np.float64) / 1000
    luma = np.maximum(light @ (0.2627, 0.6780, 0.0593), 1e-9)[..., None]
    scene = light * luma ** (1 / 1.2 - 1)
    bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.round(np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright).clip(0, 1) * 65535).astype(np.uint16)


def shown(rgb: NDArray[np.int_] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return BT.2020 nits for a BT.709 picture whose white is diffuse white."""
    return np.asarray((rgb / 255) ** 2.2 @ TO_2020.T * 203)
