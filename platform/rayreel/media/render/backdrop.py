"""Backdrops: a painted canvas, and the view of it that pans and ripples."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from rayreel.catalog.sample.clip import Look
from rayreel.media.render.arrays import Field, Picture
from rayreel.media.render.scenes import SCENES, Ground


def paint_backdrop(look: Look, margin: int, spare: int, rng: Generator) -> Picture:
    """Paint the frame with a margin all round, and `spare` pixels on the right to pan into."""
    h, w = look.height + 2 * margin, look.width + 2 * margin + spare
    y, x = np.meshgrid((np.arange(h) - margin) / look.height, (np.arange(w) - margin) / look.height, indexing="ij")
    first, second, third = (np.array(colour, np.float64) for colour in look.palette[:3])
    ground = Ground(x, y, _smooth_noise(rng, h, w), (first, second, third), look.width / look.height, rng)
    painted = SCENES[look.backdrop](ground) * (1 + look.texture * (2 * ground.noise[..., None] - 1))
    return np.clip(painted, 0, 255).astype(np.uint8)


def make_view(canvas: Picture, margin: int, look: Look, ripple: float) -> Callable[[float, int], Picture]:
    """Return the view of the canvas at a time and a pan: still, or through a travelling wave that grows downwards."""
    h, w = look.height, look.width
    y, x = (index.astype(np.float32) for index in np.mgrid[:h, :w])
    swell, phase = ripple / 0.62 * np.maximum(y - 0.38 * h, 0), 2 * np.pi * (1.5 * x + 3 * y) / h
    sine, cosine = swell * np.sin(phase), swell * np.cos(phase)

    def view(t: float, shift: int) -> Picture:
        picture = canvas[:, shift : shift + w + 2 * margin].copy()
        if ripple:
            rows = (y + (np.cos(4 * t) * sine - np.sin(4 * t) * cosine)).astype(np.int32) + margin
            picture[margin : margin + h, margin : margin + w] = canvas[rows, x.astype(np.int32) + margin + shift]
        return picture

    return view


def _smooth_noise(rng: Generator, h: int, w: int) -> Field:
    """Value noise in [0, 1]: three octaves of random grids, smoothly interpolated."""
    octaves = [_hats(h, n) @ rng.random((n, n)) @ _hats(w, n).T for n in (6, 13, 29)]
    return np.asarray(np.average(octaves, axis=0, weights=(4, 2, 1)))


def _hats(length: int, cells: int) -> Field:
    """Return how much each of `cells` grid points weighs at each pixel, [length, cells]; rows sum to 1."""
    hats = np.maximum(0, 1 - abs(np.linspace(0, cells - 1, length)[:, None] - np.arange(cells)))
    return np.asarray(hats**2 * (3 - 2 * hats))
