"""Draw, synthesise and encode one clip of the sample set.

A picture is a still backdrop that pans or ripples, with sprites moving over it; a sound is a noise band, a chord and
grains. Lengths are in frame heights, times in seconds.
"""

import functools
import math
import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rayreel.catalog.sample import FRAME_RATE, Band, Chord, Grains, Look, Motion, SampleClip

SAMPLE_RATE = 32_000
DEPTHS = (1.0, 0.65, 1.4)  # sprites come in three sizes; the first third of them at 1.0

Field = NDArray[np.float64]
Picture = NDArray[np.uint8]


def render(clip: SampleClip, path: Path) -> None:
    """Write `clip` to `path` as MP4 (H.264 yuv420p, AAC mono), a keyframe each second. Parent folders are made.

    The same clip gives the same bytes on one machine: one encoder thread, no date and no writer's name in the file.
    The file appears complete or not at all.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _encode(clip, unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _encode(clip: SampleClip, path: Path) -> None:
    with av.open(path, "w", format="mp4", options={"fflags": "+bitexact", "movflags": "+faststart"}) as out:
        video = out.add_stream("libx264", rate=FRAME_RATE, options={"preset": "superfast", "crf": "25"})
        video.width, video.height, video.pix_fmt = clip.look.width, clip.look.height, "yuv420p"
        audio = out.add_stream("aac", rate=SAMPLE_RATE, layout="mono", options={"b": "64k"})
        for stream in (video, audio):
            stream.codec_context.thread_count = 1
            stream.codec_context.flags |= av.codec.context.Flags.bitexact
        video.codec_context.gop_size = FRAME_RATE
        wave = av.AudioFrame.from_ndarray(synthesise(clip)[None], format="fltp", layout="mono")
        wave.sample_rate, wave.time_base, wave.pts = SAMPLE_RATE, Fraction(1, SAMPLE_RATE), 0
        out.mux(audio.encode(wave))
        out.mux(audio.encode())
        for number, picture in enumerate(draw(clip)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.time_base, frame.pts = Fraction(1, FRAME_RATE), number
            out.mux(video.encode(frame))
        out.mux(video.encode())


def draw(clip: SampleClip) -> Iterator[Picture]:
    """Yield the clip's frames, [height, width, 3] uint8 RGB."""
    look, motion, rng = clip.look, clip.motion, np.random.default_rng(clip.seed)
    w, h, frames = look.width, look.height, round(clip.seconds * FRAME_RATE)
    t = np.arange(frames) / FRAME_RATE
    stamps = [_stamp(look, depth) for depth in range(len(DEPTHS))]
    margin = max(len(stamp) for stamp in stamps)
    shift = np.round((motion.pan * t - min(0.0, motion.pan * clip.seconds)) * h).astype(int)
    canvas = _backdrop(look, margin, int(shift.max()), rng)
    view = _ripples(canvas, margin, look, motion.ripple)
    sprites = _sprites(look, motion, t, margin, rng)
    for k in range(frames):
        picture = view(float(t[k]), int(shift[k]))
        wings_down = motion.kind == "flap" and int(t[k] * 6) % 2
        _blend(picture, [stamp[::-1] for stamp in stamps] if wings_down else stamps, sprites, k)
        yield np.ascontiguousarray(picture[margin : margin + h, margin : margin + w])


# --- sprites -----------------------------------------------------------------------------------------------------


class _Sprites(NamedTuple):
    """N sprites over T frames: centres [T, N, 2] in canvas pixels, opacities [T, N], colours [N, 3], depths [N]."""

    centres: NDArray[np.int64]
    opacities: Field
    colours: Field
    depths: NDArray[np.int64]
    mirrored: NDArray[np.bool_]


def _sprites(look: Look, motion: Motion, t: Field, margin: int, rng: Generator) -> _Sprites:
    n = look.count
    depths, mirrored = np.arange(n) % len(DEPTHS), rng.random(n) < 0.5
    towards = np.where(mirrored, -1, 1) * np.array(DEPTHS)[depths]
    path = _MOTIONS[motion.kind](t[:, None], _Course(rng, towards, motion.speed, look.width / look.height))
    x, y, opacities = (np.broadcast_to(part, (len(t), n)) for part in path)
    centres = np.round(np.stack([x, y], axis=-1) * look.height).astype(int) + margin
    colours = np.array(look.palette[3:], np.float64)[np.arange(n) // len(DEPTHS) % len(look.palette[3:])]
    return _Sprites(centres, opacities, colours, depths, mirrored)


def _blend(picture: Picture, stamps: list[Field], sprites: _Sprites, k: int) -> None:
    """Draw the sprites of frame k, in place. One beyond the frame is held in the margin, unseen."""
    height, width, _ = picture.shape
    for n, depth in enumerate(sprites.depths):
        stamp = stamps[depth][:, ::-1] if sprites.mirrored[n] else stamps[depth]
        size = len(stamp)
        left, top = (int(centre) - size // 2 for centre in sprites.centres[k, n])
        left, top = min(max(left, 0), width - size), min(max(top, 0), height - size)
        patch = picture[top : top + size, left : left + size]
        patch[:] = patch + stamp[..., None] * sprites.opacities[k, n] * (sprites.colours[n] - patch)


def _stamp(look: Look, depth: int) -> Field:
    """Return a sprite's opacity, [size, size]."""
    radius = max(2, round(look.size * DEPTHS[depth] * min(look.width, look.height)))
    v, u = np.meshgrid(*[np.linspace(-1.1, 1.1, 2 * radius + 1)] * 2, indexing="ij")
    shape = look.shapes[depth % len(look.shapes)]
    if shape in _SOFT:
        return np.clip(_SOFT[shape](u, v), 0, 1)
    return np.clip(_EDGED[shape](u, v) * radius / 1.5, 0, 1)  # an edge fades over a pixel or two


def _disc(u: Field, v: Field, r: float = 1.0) -> Field:
    return np.asarray(r - np.hypot(u, v))


def _box(u: Field, v: Field, half_w: float, half_h: float) -> Field:
    return np.minimum(half_w - abs(u), half_h - abs(v))


def _union(*shapes: Field) -> Field:
    return functools.reduce(np.maximum, shapes)


def _gull(u: Field, v: Field) -> Field:
    return np.minimum(0.16 * (1.1 - abs(u)) + 0.02 - abs(v + 0.45 * np.sin(np.pi * abs(u)) - 0.1), 1 - abs(u))


def _bird(u: Field, v: Field) -> Field:
    body, head = _disc(u / 0.6, v / 0.24) * 0.24, _disc(u - 0.52, v + 0.12, 0.2)
    beak, tail = np.minimum(1 - u, 0.3 * (1 - u) - abs(v + 0.1)), np.minimum(-0.35 - u, 0.35 * (-u - 0.2) - abs(v))
    wing = np.minimum(0.1 - v, 0.42 * (1 + v) - abs(u + 0.1 - 0.25 * v))
    return _union(body, head, np.minimum(beak, u - 0.5), np.minimum(tail, 1 + u), wing)


def _fish(u: Field, v: Field) -> Field:
    body = np.minimum(_disc((u - 0.2) / 0.8, v / 0.5) * 0.5, np.hypot(u - 0.65, v + 0.12) - 0.09)
    return _union(body, np.minimum(-0.45 - u, 0.55 * (-u - 0.35) + 0.15 - abs(v)))


def _flake(u: Field, v: Field) -> Field:
    arms = np.hypot(u, v) * abs(np.sin(3 * np.arctan2(v, u)))
    return np.asarray(np.minimum(_disc(u, v), 0.25 - arms))


def _player(u: Field, v: Field) -> Field:
    return _union(_disc(u, v + 0.7, 0.28), _box(u, v + 0.05, 0.32, 0.38), _box(abs(u) - 0.2, v - 0.65, 0.11, 0.42))


def _pawn(u: Field, v: Field) -> Field:
    return _union(
        _disc(u, v + 0.5, 0.36), _box(u, v - 0.75, 0.6, 0.2), np.minimum(0.3 + 0.3 * v - abs(u), 0.8 - abs(v))
    )


def _rook(u: Field, v: Field) -> Field:
    crown = np.minimum(_box(u, v + 0.65, 0.55, 0.25), np.maximum(v + 0.7, 0.12 - abs(abs(u) - 0.36)))
    return _union(crown, _box(u, v, 0.36, 0.8), _box(u, v - 0.75, 0.65, 0.2))


def _bishop(u: Field, v: Field) -> Field:
    return _union(_disc(u / 0.36, (v + 0.45) / 0.55) * 0.4, _box(u, v - 0.75, 0.6, 0.2), _box(u, v - 0.2, 0.2, 0.6))


# u points right and v down, both within 1.1. Edged shapes give roughly the distance to their edge, positive inside, in
# radii; soft shapes give opacity.
_EDGED: dict[str, Callable[[Field, Field], Field]] = {
    "disc": _disc,
    "ring": lambda u, v: np.asarray(0.25 - abs(np.hypot(u, v) - 0.7)),
    "box": lambda u, v: _box(u + 0.4 * v, v - 0.2 * u, 0.75, 0.4),
    "drum": lambda u, v: _union(_disc(u, v, 0.8), np.asarray(0.06 - abs(np.hypot(u, v) - 0.98))),
    "gull": _gull,
    "bird": _bird,
    "fish": _fish,
    "flake": _flake,
    "player": _player,
    "pawn": _pawn,
    "rook": _rook,
    "bishop": _bishop,
}
_SOFT: dict[str, Callable[[Field, Field], Field]] = {
    "glow": lambda u, v: 1.2 * np.exp(-4 * (u**2 + v**2)) - 0.03,
    "spark": lambda u, v: 1.6 * np.exp(-9 * abs(u * v) - 2.5 * np.hypot(u, v)) - 0.12,
    "cloud": lambda u, v: 0.8 * np.exp(-3 * u**2 - 40 * (v + 0.1 * np.cos(5 * u)) ** 2) - 0.03,
}


# --- motions: t [T, 1] -> x, y, opacity, each to be broadcast to [T, N] ------------------------------------------


class _Course(NamedTuple):
    """What a motion is made from. `towards` [N] is each sprite's nearness, negative when it heads left."""

    rng: Generator
    towards: Field
    speed: float
    aspect: float

    def any(self, low: float = 0.0, high: float = 1.0) -> Field:
        """One random number for each sprite."""
        return self.rng.uniform(low, high, len(self.towards))

    def wave(self, t: Field, low: float, high: float) -> Field:
        """A sine for each sprite, its angular speed between low and high and its phase at random: [T, N]."""
        return np.asarray(np.sin(self.any(low, high) * t + self.any(0, 6.3)))

    def across(self, t: Field) -> Field:
        """From side to side, the nearer the faster, and round again outside the frame."""
        width = self.aspect + 0.6
        return (self.any(0, width) + self.towards * self.speed * t) % width - 0.3


Path_TN = tuple[Field, Field, Field]
_OPAQUE = np.ones(1)


def _swim(t: Field, c: _Course) -> Path_TN:
    return c.across(t), c.any(0.1, 0.75) + 0.03 * c.wave(t, 2, 2), _OPAQUE


def _flap(t: Field, c: _Course) -> Path_TN:
    return c.across(t), c.any(0.08, 0.5) + 0.05 * c.wave(t, 5, 5), _OPAQUE


def _traffic(t: Field, c: _Course) -> Path_TN:
    return c.across(t), np.where(c.towards < 0, 0.84, 0.93) + c.any(-0.015, 0.015), _OPAQUE


def _burst(t: Field, c: _Course) -> Path_TN:
    """Rockets burst in turn; air slows their sparks and gravity bends them."""
    rockets = 4
    rocket = np.arange(len(c.towards)) // len(DEPTHS) % rockets
    x, y = c.rng.uniform(0.2, 0.8, rockets)[rocket] * c.aspect, c.rng.uniform(0.2, 0.5, rockets)[rocket]
    age = (t / 1.3 + rocket / rockets + c.rng.random()) % 1
    angle, reach = c.any(0, 6.3), c.speed * np.sqrt(c.any(0.1, 1)) * (1 - np.exp(-3 * age))
    return x + reach * np.cos(angle), y + reach * np.sin(angle) + 0.18 * age**2, np.sqrt(1 - age)


def _fall(t: Field, c: _Course) -> Path_TN:
    y = (c.any(0, 1.2) + abs(c.towards) * c.speed * t) % 1.2 - 0.1
    return c.any(0, c.aspect) + 0.03 * c.wave(t, 1.5, 1.5), y, _OPAQUE


def _simmer(t: Field, c: _Course) -> Path_TN:
    r, angle = 0.34 * np.sqrt(c.any()), c.any(0, 6.3) + 0.15 * c.speed * t
    shake = 0.012 * c.speed
    x = c.aspect / 2 + r * np.cos(angle) + shake * c.wave(t, 8, 16)
    return x, 0.5 + r * np.sin(angle) + shake * c.wave(t, 8, 16), _OPAQUE


def _roam(t: Field, c: _Course) -> Path_TN:
    x = c.aspect * (c.any(0.05, 0.95) + 0.12 * c.wave(t, 2 * c.speed, 4 * c.speed))
    return x, c.any(0.3, 0.85) + 0.08 * c.wave(t, 2 * c.speed, 4 * c.speed), _OPAQUE


def _beat(t: Field, c: _Course) -> Path_TN:
    """A row of things struck in turn: each jumps and lights up, and settles."""
    order = np.arange(len(c.towards))
    struck = np.exp(-5 * ((t * c.speed + order / 2) % 1))
    y = 0.58 + 0.14 * np.cos(np.pi * order) * c.any(0.5, 1.2)
    return c.aspect * (order + 0.5) / len(order), y - 0.05 * struck, 0.8 + 0.2 * struck


def _zoom(t: Field, c: _Course) -> Path_TN:
    angle, near = c.any(0, 6.3), (c.any() + c.speed * t) % 1
    r = c.aspect * near**1.7
    return c.aspect / 2 + r * np.cos(angle), 0.5 + r * np.sin(angle), np.sqrt(near)


def _step(t: Field, c: _Course) -> Path_TN:
    """From cell to cell of a board of five rows, one after the other, out and back."""
    n, cell = len(c.towards), 0.2
    place = np.resize(c.rng.permutation(5 * math.ceil(c.aspect / cell)), n)
    turn = (c.speed * t / 2 + np.arange(n) / n) % 2
    glide = np.clip(3 * np.minimum(turn, 2 - turn) - 1, 0, 1) * cell * c.rng.integers(1, 3, n)
    x, y, sideways = place // 5 * cell + cell / 2, place % 5 * cell + cell / 2, c.any() < 0.5
    inwards_x, inwards_y = np.where(x > c.aspect / 2, -1, 1), np.where(y > 0.5, -1, 1)
    return x + glide * inwards_x * sideways, y + glide * inwards_y * ~sideways, _OPAQUE


_MOTIONS: dict[str, Callable[[Field, _Course], Path_TN]] = {
    "swim": _swim,
    "flap": _flap,
    "traffic": _traffic,
    "burst": _burst,
    "fall": _fall,
    "simmer": _simmer,
    "roam": _roam,
    "beat": _beat,
    "zoom": _zoom,
    "step": _step,
}


# --- backdrops: each paints over coordinates in frame heights, (0, 0) the frame's upper left corner ----------------


class _Ground(NamedTuple):
    """What a backdrop is painted from: coordinates and smooth noise [H, W], colours [3] each, the frame's aspect."""

    x: Field
    y: Field
    noise: Field
    colours: tuple[Field, Field, Field]
    aspect: float
    rng: Generator


def _backdrop(look: Look, margin: int, spare: int, rng: Generator) -> Picture:
    """Paint the frame with a margin all round, and `spare` pixels on the right to pan into."""
    h, w = look.height + 2 * margin, look.width + 2 * margin + spare
    y, x = np.meshgrid((np.arange(h) - margin) / look.height, (np.arange(w) - margin) / look.height, indexing="ij")
    first, second, third = (np.array(colour, np.float64) for colour in look.palette[:3])
    ground = _Ground(x, y, _smooth_noise(rng, h, w), (first, second, third), look.width / look.height, rng)
    painted = _BACKDROPS[look.backdrop](ground) * (1 + look.texture * (2 * ground.noise[..., None] - 1))
    return np.clip(painted, 0, 255).astype(np.uint8)


def _ripples(canvas: Picture, margin: int, look: Look, ripple: float) -> Callable[[float, int], Picture]:
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


def _mix(a: Field, b: Field, share: NDArray[Any]) -> Field:
    """Go from colour or picture a to b as `share` [H, W], a number or a mask, goes from 0 to 1."""
    return np.asarray(a + (b - a) * np.clip(share.astype(float), 0, 1)[..., None])


def _cells(at: Field, per_height: float) -> tuple[NDArray[np.int64], Field]:
    """Which cell of a row of cells, cyclic in 64, and where in it, [0, 1)."""
    scaled = at * per_height + 64
    return scaled.astype(np.int64) % 64, scaled % 1


def _sea(g: _Ground) -> Field:
    sky, deep, foam = g.colours
    depth = (g.y - 0.38) / 0.62
    crests = np.sin(26 * np.sqrt(np.maximum(depth, 0)) + 9 * g.noise + 1.5 * np.sin(3 * g.x))
    water = _mix(_mix(1.3 * deep, 0.75 * deep, depth), foam, 3 * (crests - 0.72))
    return np.where(depth[..., None] < 0, _mix(sky, foam, g.y / 0.38), water)


def _skyline(g: _Ground) -> Field:
    night, haze, lamp = g.colours
    block, _ = _cells(g.x, 5.5)
    (column, across), (floor, up) = _cells(g.x, 28), _cells(g.y, 22)
    building = g.y > 0.78 - g.rng.uniform(0.15, 0.65, 64)[block]
    lit = (g.rng.random((64, 64)) < 0.4)[floor, column] & (abs(across - 0.5) < 0.28) & (abs(up - 0.5) < 0.3)
    picture = _mix(_mix(night, haze, g.y / 0.8), 0.55 * night + 8, building)
    picture = _mix(picture, lamp, 0.85 * (building & lit))
    dashes = (abs(g.y - 0.885) < 0.006) & (_cells(g.x, 6)[1] < 0.5)
    return np.where((g.y > 0.78)[..., None], _mix(night + 22, lamp, 0.6 * dashes), picture)


def _night(g: _Ground) -> Field:
    top, bottom, ground = g.colours
    trees = g.y > 0.88 + 0.03 * np.sin(9 * g.x) - 0.12 * (g.noise - 0.5)
    return _mix(_mix(top, bottom, g.y), ground, trees)


def _hills(g: _Ground) -> Field:
    high, low, near = g.colours
    picture = _mix(high, low, 1.5 * g.y)
    x, y = g.rng.uniform(0.25, 0.75) * g.aspect, g.rng.uniform(0.25, 0.42)
    away = np.hypot(g.x - x, g.y - y)
    picture = _mix(picture, np.array([255.0, 248, 222]), np.maximum(60 * (0.09 - away), 0.6 * np.exp(-5 * away)))
    for k in range(3):
        a, b, c = g.rng.uniform(0, 6.3, 3)
        ridge = (
            0.55 + 0.15 * k - 0.06 * np.sin(3.1 * g.x + a) - 0.03 * np.sin(8 * g.x + b) - 0.01 * np.sin(21 * g.x + c)
        )
        picture = _mix(picture, low + (near - low) * (k + 1) / 3, (g.y - ridge) * 200)
    return picture


def _pines(g: _Ground) -> Field:
    picture = _hills(g)
    for k, per_height in enumerate((9.0, 4.5)):
        tree, across = _cells(g.x + 0.07 * k, per_height)
        foot, height = 0.74 + 0.14 * k, g.rng.uniform(0.5, 1.4, 64)[tree] * 1.5 / per_height
        down = (g.y - foot) / height + 1
        inside = (abs(across - 0.5) < 0.38 * down * (0.6 + 0.4 * (4 * down % 1))) & (down < 1)
        picture = _mix(picture, np.array([40.0, 70, 72]) + 45 * (1 - k), inside * (g.rng.random(64) < 0.75)[tree])
    return picture


def _pan(g: _Ground) -> Field:
    wood, iron, sauce = g.colours
    r = np.hypot(g.x - g.aspect / 2, g.y - 0.5)
    picture = _mix(wood, 0.72 * wood, 0.5 + 0.5 * np.sin(42 * g.y + 9 * g.noise + 2 * np.sin(2 * g.x)))
    picture = _mix(picture, iron, 80 * (0.49 - r))
    picture = _mix(picture, 2.2 * iron, 1 - abs(r - 0.475) * 110)
    return _mix(picture, sauce * (0.6 + 0.6 * g.noise[..., None]), 60 * (0.43 + 0.04 * (g.noise - 0.5) - r))


def _pitch(g: _Ground) -> Field:
    dark, bright, chalk = g.colours
    x, y = g.x - g.aspect / 2, g.y - 0.58
    picture = _mix(dark, bright, _cells(g.x, 4)[0] % 2)
    line = np.minimum(abs(np.hypot(x, y / 0.8) - 0.22), np.minimum(abs(x), abs(g.y - 0.24)))
    picture = _mix(picture, chalk, 150 * (0.009 - line))
    crowd = g.rng.uniform(40, 235, (64, 64, 3))[_cells(g.y, 40)[0], _cells(g.x, 40)[0]]
    return np.where((g.y < 0.2)[..., None], 0.8 * crowd, picture)


def _forest(g: _Ground) -> Field:
    light, leaf, bark = g.colours
    picture = _mix(_mix(light, leaf, 0.4 + 0.7 * g.y), light, 3 * (g.noise - 0.55))
    for k in range(9):
        x, half = g.rng.uniform(-0.2, g.aspect + 0.8), 0.012 + 0.005 * k
        trunk = half * (0.8 + 0.3 * g.y) - abs(g.x - x - 0.015 * np.sin(5 * g.y + k))
        picture = _mix(picture, _mix(0.6 * leaf + 0.4 * bark, bark, np.array(k / 8)), 120 * trunk)
    return _mix(picture, 0.5 * leaf, 9 * (g.y - 0.82 - 0.1 * (g.noise - 0.5)))


def _stage(g: _Ground) -> Field:
    dark, warm, lamp = g.colours
    picture = _mix(warm, dark, 1.5 * np.hypot((g.x - g.aspect / 2) / g.aspect, g.y - 0.45))
    for lean in g.rng.uniform(-0.45, 0.45, 3):
        beam = 1 - abs(g.x - g.aspect * (0.5 + lean) + lean * g.y) / (0.03 + 0.17 * np.maximum(g.y, 0))
        picture = _mix(picture, lamp, 0.4 * np.clip(beam, 0, 1) * (1 - 0.6 * g.y))
    boards = 0.35 + 0.15 * (_cells(g.x, 9)[1] < 0.93)
    return np.where((g.y > 0.84)[..., None], boards[..., None] * lamp * 0.6, picture)


def _nebula(g: _Ground) -> Field:
    void, cloud, gas = g.colours
    veil = g.noise[::-1, ::-1]
    picture = _mix(_mix(void, cloud, 3 * (g.noise - 0.42)), gas, 3 * (veil * g.noise - 0.28))
    x, y, r = g.rng.uniform(0.15, 0.85) * g.aspect, g.rng.uniform(0.2, 0.8), g.rng.uniform(0.1, 0.24)
    shade = 0.25 + 0.9 * np.clip(0.6 + (x - g.x + y - g.y) / (2 * r), 0, 1) + 0.1 * np.sin(50 * (g.y - y) + 8 * g.noise)
    return _mix(picture, (0.6 * gas + 70) * shade[..., None], 90 * (r - np.hypot(g.x - x, g.y - y)))


def _board(g: _Ground) -> Field:
    white, black, grain = g.colours
    (file, _), (rank, _) = _cells(g.x, 5), _cells(g.y, 5)
    squares = _mix(white, black, (file + rank) % 2)
    return _mix(squares, grain, 0.12 * (1 + np.sin(90 * g.y + 14 * g.noise)))


def _water(g: _Ground) -> Field:
    shallow, deep, weed = g.colours
    rays = np.sin(11 * (g.x + 0.5 * g.y) + 3 * g.noise) * (1 - g.y)
    picture = _mix(_mix(shallow, deep, g.y), shallow + 50, 0.7 * (rays - 0.25))
    stem, across = _cells(g.x + 0.025 * np.sin(13 * g.y), 7)
    tall = 0.9 - g.rng.uniform(0.05, 0.5, 64)[stem] * (g.rng.random(64) < 0.6)[stem]
    picture = _mix(picture, weed, (abs(across - 0.5) < 0.17) & (g.y > tall))
    return _mix(picture, np.array([226.0, 200, 146]), 60 * (g.y - 0.89 - 0.05 * (g.noise - 0.5)))


_BACKDROPS: dict[str, Callable[[_Ground], Field]] = {
    "sea": _sea,
    "skyline": _skyline,
    "night": _night,
    "hills": _hills,
    "pines": _pines,
    "pan": _pan,
    "pitch": _pitch,
    "forest": _forest,
    "stage": _stage,
    "nebula": _nebula,
    "board": _board,
    "water": _water,
}


# --- sound -------------------------------------------------------------------------------------------------------


def synthesise(clip: SampleClip) -> NDArray[np.float32]:
    """Return the clip's sound, [samples] at SAMPLE_RATE, peak 0.6."""
    rng = np.random.default_rng([clip.seed, 1])
    t = np.arange(round(clip.seconds * SAMPLE_RATE)) / SAMPLE_RATE
    mix = _noise(t, clip.sound.band, rng) + _held(t, clip.sound.chord, rng) + _struck(t, clip.sound.grains, rng)
    fade = np.minimum(1, np.minimum(t, t[::-1]) / 0.02)  # a hard edge would click, the same in every category
    return (0.6 * fade * mix / max(float(abs(mix).max()), 1e-6)).astype(np.float32)


def _noise(t: Field, band: Band, rng: Generator) -> Field:
    """White noise without what lies outside the band, standard deviation 0.3 at level 1."""
    spectrum = np.fft.rfft(rng.standard_normal(len(t)))
    hz = np.fft.rfftfreq(len(t), 1 / SAMPLE_RATE)
    spectrum[(hz < band.hz[0]) | (hz > band.hz[1])] = 0
    noise = np.fft.irfft(spectrum, len(t))
    swell = 0.6 + 0.4 * np.sin(2 * np.pi * band.swell_hz * t + rng.uniform(0, 6.3))
    return 0.3 * band.level * swell * noise / max(float(noise.std()), 1e-9)


def _held(t: Field, chord: Chord, rng: Generator) -> Field:
    tones = [np.sin(2 * np.pi * hz * t + rng.uniform(0, 6.3)) for hz in chord.hz]
    return chord.level * np.mean(tones, axis=0) if tones else np.zeros_like(t)


def _struck(t: Field, grains: Grains, rng: Generator) -> Field:
    """All grains, by the clock or at random times, a call and its answer in turn."""
    mix = np.zeros_like(t)
    count = max(1, round(len(t) / SAMPLE_RATE * grains.per_second))
    starts = (np.arange(count) + 0.3) / grains.per_second if grains.regular else np.sort(rng.random(count)) * t[-1]
    pair = [_grain(grains, 1.0, rng), _grain(grains, grains.answer, rng)]
    for k, start in enumerate((starts * SAMPLE_RATE).astype(int)):
        rest = mix[start : start + len(pair[k % 2])]
        rest += pair[k % 2][: len(rest)]
    return mix


def _grain(grains: Grains, ratio: float, rng: Generator) -> Field:
    samples = int(grains.seconds * SAMPLE_RATE)
    t = np.arange(samples) / samples
    tone = np.sin(2 * np.pi * np.cumsum(ratio * np.interp(t, (0, 1), grains.hz)) / SAMPLE_RATE)
    wave = (1 - grains.noise) * tone + 0.5 * grains.noise * rng.standard_normal(samples)
    return grains.level * wave * np.exp(-5 * t) * np.minimum(1, 40 * t)
