"""Map high dynamic range and wide gamuts to standard range, as in the training data: BT.709 primaries, gamma 2.2."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from av.video.reformatter import ColorPrimaries, ColorTrc
from numpy.typing import NDArray

_Floats = NDArray[np.floating[Any]]

_WHITE_NITS = 203.0  # diffuse white of HDR content, Report ITU-R BT.2408
_GAMMA = 2.2
_LEVELS = 1 << 16
_TO_709 = {  # linear light; Report ITU-R BT.2407 and SMPTE EG 432-1
    ColorPrimaries.BT2020: ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187)),
    ColorPrimaries.SMPTE432: ((1.2249, -0.2247, 0.0), (-0.0420, 1.0419, 0.0), (-0.0197, -0.0786, 1.0979)),
}
_BT2020_LUMA = np.array((0.2627, 0.6780, 0.0593), np.float32)


def is_standard(transfer: int, primaries: int) -> bool:
    """Whether a picture with these transfer and primaries (H.273 numbers) needs no mapping."""
    return transfer not in _TO_NITS and primaries not in _TO_709


def to_standard(picture: NDArray[np.uint16], transfer: int, primaries: int) -> NDArray[np.uint8]:
    """Convert RGB signal values [..., 3], 0 to 65535, to 8-bit BT.709 RGB.

    PQ and HLG are converted to nits, and highlights above diffuse white are compressed below it (Report ITU-R BT.2390).
    The peak is that of this picture; the declared peak is that of the mastering display, which most pictures never
    reach. Colours outside BT.709 are clipped.
    """
    if transfer in _TO_NITS:
        light = _compress(_TO_NITS[transfer](picture)) / _WHITE_NITS
        primaries = primaries if primaries in _TO_709 or primaries == ColorPrimaries.BT709 else ColorPrimaries.BT2020
    else:
        light = _gamma_table()[picture]
    if primaries in _TO_709:
        light = light @ np.array(_TO_709[ColorPrimaries(primaries)], np.float32).T
    encoded: _Floats = np.clip(light, 0, 1) ** np.float32(1 / _GAMMA)
    return np.round(encoded * 255).astype(np.uint8)


def _compress(nits: _Floats) -> _Floats:
    """Apply the EETF of BT.2390 to the largest of R, G and B and scale all three alike, which keeps the hue."""
    most = nits.max(axis=-1)
    peak, white = (float(level) for level in _pq_signal(np.array((most.max(), _WHITE_NITS))))
    if peak <= white:
        return nits
    most_allowed = white / peak
    knee = 1.5 * most_allowed - 0.5
    signal = _pq_signal(most) / peak
    t = np.clip((signal - knee) / (1 - knee), 0, 1)
    curve = (
        (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * most_allowed
    )
    mapped = _pq_nits(np.where(signal < knee, signal, curve) * peak)
    scaled: _Floats = nits * (mapped / np.maximum(most, 1e-6))[..., None]
    return scaled


def _pq_nits(signal: _Floats) -> _Floats:
    """Convert a signal in [0, 1] to nits by the electro-optical transfer function of SMPTE ST 2084."""
    power = np.maximum(signal, 0) ** (32 / 2523)
    nits: _Floats = 10_000 * (np.maximum(power - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * power)) ** (16384 / 2610)
    return nits


def _pq_signal(nits: _Floats) -> _Floats:
    power = (np.maximum(nits, 0) / 10_000) ** (2610 / 16384)
    signal: _Floats = ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)
    return signal


def _from_pq(picture: NDArray[np.uint16]) -> _Floats:
    return _pq_table()[picture]


def _from_hlg(picture: NDArray[np.uint16]) -> _Floats:
    """Convert to nits by Recommendation ITU-R BT.2100, table 5: scene light, then the gamma of a 1,000-nit display."""
    scene = _hlg_table()[picture]
    return np.float32(1000) * scene * (scene @ _BT2020_LUMA)[..., None] ** np.float32(0.2)


_TO_NITS: dict[int, Callable[[NDArray[np.uint16]], _Floats]] = {
    ColorTrc.SMPTE2084: _from_pq,
    ColorTrc.ARIB_STD_B67: _from_hlg,
}


def _signals() -> NDArray[np.float64]:
    return np.arange(_LEVELS) / (_LEVELS - 1)


@cache
def _pq_table() -> _Floats:
    return _pq_nits(_signals()).astype(np.float32)


@cache
def _hlg_table() -> _Floats:
    signal, a = _signals(), 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12).astype(np.float32)


@cache
def _gamma_table() -> _Floats:
    return (_signals() ** _GAMMA).astype(np.float32)
