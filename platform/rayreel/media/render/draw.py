"""Draw one clip of the sample set: a still backdrop that pans or ripples, with sprites moving over it."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rayreel.catalog.sample.clip import FRAME_RATE, ColourGrade, Look, Motion, SampleClip
from rayreel.media.render.motion import DEPTHS, MOTIONS, Course
from rayreel.media.render.scenes import SCENES, Ground
from rayreel.media.render.shapes import Field, Picture, stamp


def draw(clip: SampleClip) -> Iterator[Picture]:
    """Yield the clip's frames, [height, width, 3] uint8 RGB."""
    look, motion, rng = clip.look, clip.motion, np.random.default_rng(clip.seed)
    w, h, frames = look.width, look.height, round(clip.seconds * FRAME_RATE)
    t = np.arange(frames) / FRAME_RATE
    stamps = make_stamps(look)
    margin = max(len(stamp) for stamp in stamps)
    shift = np.round((motion.pan * t - min(0.0, motion.pan * clip.seconds)) * h).astype(int)
    canvas = paint_backdrop(look, margin, int(shift.max()), rng)
    view = make_view(canvas, margin, look, motion.ripple)
    sprites = place_sprites(look, motion, t, margin, rng)
    for k in range(frames):
        picture = view(float(t[k]), int(shift[k]))
        wings_down = motion.kind == "flap" and int(t[k] * 6) % 2
        blend(picture, [stamp[::-1] for stamp in stamps] if wings_down else stamps, sprites, k)
        yield np.ascontiguousarray(picture[margin : margin + h, margin : margin + w])


def paint_backdrop(look: Look, margin: int, spare: int, rng: Generator) -> Picture:
    """Paint the frame with a margin all round, and `spare` pixels on the right to pan into."""
    h, w = look.height + 2 * margin, look.width + 2 * margin + spare
    y, x = np.meshgrid((np.arange(h) - margin) / look.height, (np.arange(w) - margin) / look.height, indexing="ij")
    first, second, third = (np.array(colour, np.float64) for colour in look.palette[:3])
    ground = Ground(x, y, _smooth_noise(rng, h, w), (first, second, third), look.width / look.height, rng)
    painted = SCENES[look.backdrop](ground) * (1 + look.texture * (2 * ground.noise[..., None] - 1))
    return _graded(painted, look.grade).astype(np.uint8)


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
    palette = _graded(np.array(look.palette[3:], np.float64), look.grade)
    colours = palette[np.arange(n) // len(DEPTHS) % len(palette)]
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


def _graded(colours: Field, grade: ColourGrade) -> Field:
    """Return RGB colours [..., 3] with this grade, 0 to 255."""
    grey = colours.mean(axis=-1, keepdims=True)
    vivid = grade.light * (grey + grade.saturation * (colours - grey))
    return np.asarray(np.clip(vivid + grade.warmth * np.array([1.0, 0.0, -1.0]), 0, 255))
