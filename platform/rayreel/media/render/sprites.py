"""Sprites: stamps of a shape, each with its own colour and path."""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rayreel.catalog.sample.clip import Look, Motion
from rayreel.media.render.arrays import Field, Picture
from rayreel.media.render.motion import DEPTHS, MOTIONS, Course
from rayreel.media.render.shapes import stamp


class Sprites(NamedTuple):
    """N sprites over T frames, in canvas pixels: centres [T, N, 2], opacities [T, N], colours [N, 3], all else [N]."""

    centres: NDArray[np.int64]
    opacities: Field
    colours: Field
    depths: NDArray[np.int64]
    mirrored: NDArray[np.bool_]


def place_sprites(look: Look, motion: Motion, t: Field, margin: int, rng: Generator) -> Sprites:
    """Move the sprites of a look over a canvas whose frame begins at (margin, margin), at times t [T] in seconds."""
    n = look.count
    depths, mirrored = np.arange(n) % len(DEPTHS), rng.random(n) < 0.5
    towards = np.where(mirrored, -1, 1) * np.array(DEPTHS)[depths]
    path = MOTIONS[motion.kind](t[:, None], Course(rng, towards, motion.speed, look.width / look.height))
    x, y, opacities = (np.broadcast_to(part, (len(t), n)) for part in path)
    centres = np.round(np.stack([x, y], axis=-1) * look.height).astype(int) + margin
    colours = np.array(look.palette[3:], np.float64)[np.arange(n) // len(DEPTHS) % len(look.palette[3:])]
    return Sprites(centres, opacities, colours, depths, mirrored)


def make_stamps(look: Look) -> list[Field]:
    """A sprite's opacity at each of the depths, [size, size]."""
    side = min(look.width, look.height)
    radii = [max(2, round(look.size * depth * side)) for depth in DEPTHS]
    return [stamp(look.shapes[i % len(look.shapes)], radius) for i, radius in enumerate(radii)]


def blend(picture: Picture, stamps: list[Field], sprites: Sprites, k: int) -> None:
    """Draw the sprites of frame k, in place. One beyond the frame is held in the margin, unseen."""
    height, width, _ = picture.shape
    for n, depth in enumerate(sprites.depths):
        opacity = stamps[depth][:, ::-1] if sprites.mirrored[n] else stamps[depth]
        size = len(opacity)
        left, top = (int(centre) - size // 2 for centre in sprites.centres[k, n])
        left, top = min(max(left, 0), width - size), min(max(top, 0), height - size)
        patch = picture[top : top + size, left : left + size]
        patch[:] = patch + opacity[..., None] * sprites.opacities[k, n] * (sprites.colours[n] - patch)
