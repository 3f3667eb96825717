"""What a backdrop shows: painters over coordinates in frame heights, (0, 0) the frame's upper left corner."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rayreel.media.render.shapes import Field


class Ground(NamedTuple):
    """What a backdrop is painted from: coordinates and smooth noise [H, W], colours [3] each, the frame's aspect."""

    x: Field
    y: Field
    noise: Field
    colours: tuple[Field, Field, Field]
    aspect: float
    rng: Generator


def _mix(a: Field, b: Field, share: NDArray[Any]) -> Field:
    """Go from colour or picture a to b as `share` [H, W], a number or a mask, goes from 0 to 1."""
    return np.asarray(a + (b - a) * np.clip(share.astype(float), 0, 1)[..., None])


def _cells(at: Field, per_height: float) -> tuple[NDArray[np.int64], Field]:
    """Return the number of the cell in a row of cells, cyclic in 64, and the position in it, [0, 1)."""
    scaled = at * per_height + 64
    return scaled.astype(np.int64) % 64, scaled % 1


def _sea(g: Ground) -> Field:
    sky, deep, foam = g.colours
    depth = (g.y - 0.38) / 0.62
    crests = np.sin(26 * np.sqrt(np.maximum(depth, 0)) + 9 * g.noise + 1.5 * np.sin(3 * g.x))
    water = _mix(_mix(1.3 * deep, 0.75 * deep, depth), foam, 3 * (crests - 0.72))
    return np.where(depth[..., None] < 0, _mix(sky, foam, g.y / 0.38), water)


def _skyline(g: Ground) -> Field:
    night, haze, lamp = g.colours
    block, _ = _cells(g.x, 5.5)
    (column, across), (floor, up) = _cells(g.x, 28), _cells(g.y, 22)
    building = g.y > 0.78 - g.rng.uniform(0.15, 0.65, 64)[block]
    lit = (g.rng.random((64, 64)) < 0.4)[floor, column] & (abs(across - 0.5) < 0.28) & (abs(up - 0.5) < 0.3)
    picture = _mix(_mix(night, haze, g.y / 0.8), 0.55 * night + 8, building)
    picture = _mix(picture, lamp, 0.85 * (building & lit))
    dashes = (abs(g.y - 0.885) < 0.006) & (_cells(g.x, 6)[1] < 0.5)
    return np.where((g.y > 0.78)[..., None], _mix(night + 22, lamp, 0.6 * dashes), picture)


def _night(g: Ground) -> Field:
    top, bottom, ground = g.colours
    trees = g.y > 0.88 + 0.03 * np.sin(9 * g.x) - 0.12 * (g.noise - 0.5)
    return _mix(_mix(top, bottom, g.y), ground, trees)


def _hills(g: Ground) -> Field:
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


def _pines(g: Ground) -> Field:
    picture = _hills(g)
    for k, per_height in enumerate((9.0, 4.5)):
        tree, across = _cells(g.x + 0.07 * k, per_height)
        foot, height = 0.74 + 0.14 * k, g.rng.uniform(0.5, 1.4, 64)[tree] * 1.5 / per_height
        down = (g.y - foot) / height + 1
        inside = (abs(across - 0.5) < 0.38 * down * (0.6 + 0.4 * (4 * down % 1))) & (down < 1)
        picture = _mix(picture, np.array([40.0, 70, 72]) + 45 * (1 - k), inside * (g.rng.random(64) < 0.75)[tree])
    return picture


def _pan(g: Ground) -> Field:
    wood, iron, sauce = g.colours
    r = np.hypot(g.x - g.aspect / 2, g.y - 0.5)
    picture = _mix(wood, 0.72 * wood, 0.5 + 0.5 * np.sin(42 * g.y + 9 * g.noise + 2 * np.sin(2 * g.x)))
    picture = _mix(picture, iron, 80 * (0.49 - r))
    picture = _mix(picture, 2.2 * iron, 1 - abs(r - 0.475) * 110)
    return _mix(picture, sauce * (0.6 + 0.6 * g.noise[..., None]), 60 * (0.43 + 0.04 * (g.noise - 0.5) - r))


def _pitch(g: Ground) -> Field:
    dark, bright, chalk = g.colours
    x, y = g.x - g.aspect / 2, g.y - 0.58
    picture = _mix(dark, bright, _cells(g.x, 4)[0] % 2)
    line = np.minimum(abs(np.hypot(x, y / 0.8) - 0.22), np.minimum(abs(x), abs(g.y - 0.24)))
    picture = _mix(picture, chalk, 150 * (0.009 - line))
    crowd = g.rng.uniform(40, 235, (64, 64, 3))[_cells(g.y, 40)[0], _cells(g.x, 40)[0]]
    return np.where((g.y < 0.2)[..., None], 0.8 * crowd, picture)


def _forest(g: Ground) -> Field:
    light, leaf, bark = g.colours
    picture = _mix(_mix(light, leaf, 0.4 + 0.7 * g.y), light, 3 * (g.noise - 0.55))
    for k in range(9):
        x, half = g.rng.uniform(-0.2, g.aspect + 0.8), 0.012 + 0.005 * k
        trunk = half * (0.8 + 0.3 * g.y) - abs(g.x - x - 0.015 * np.sin(5 * g.y + k))
        picture = _mix(picture, _mix(0.6 * leaf + 0.4 * bark, bark, np.array(k / 8)), 120 * trunk)
    return _mix(picture, 0.5 * leaf, 9 * (g.y - 0.82 - 0.1 * (g.noise - 0.5)))


def _stage(g: Ground) -> Field:
    dark, warm, lamp = g.colours
    picture = _mix(warm, dark, 1.5 * np.hypot((g.x - g.aspect / 2) / g.aspect, g.y - 0.45))
    for lean in g.rng.uniform(-0.45, 0.45, 3):
        beam = 1 - abs(g.x - g.aspect * (0.5 + lean) + lean * g.y) / (0.03 + 0.17 * np.maximum(g.y, 0))
        picture = _mix(picture, lamp, 0.4 * np.clip(beam, 0, 1) * (1 - 0.6 * g.y))
    boards = 0.35 + 0.15 * (_cells(g.x, 9)[1] < 0.93)
    return np.where((g.y > 0.84)[..., None], boards[..., None] * lamp * 0.6, picture)


def _nebula(g: Ground) -> Field:
    void, cloud, gas = g.colours
    veil = g.noise[::-1, ::-1]
    picture = _mix(_mix(void, cloud, 3 * (g.noise - 0.42)), gas, 3 * (veil * g.noise - 0.28))
    x, y, r = g.rng.uniform(0.15, 0.85) * g.aspect, g.rng.uniform(0.2, 0.8), g.rng.uniform(0.1, 0.24)
    shade = 0.25 + 0.9 * np.clip(0.6 + (x - g.x + y - g.y) / (2 * r), 0, 1) + 0.1 * np.sin(50 * (g.y - y) + 8 * g.noise)
    return _mix(picture, (0.6 * gas + 70) * shade[..., None], 90 * (r - np.hypot(g.x - x, g.y - y)))


def _board(g: Ground) -> Field:
    white, black, grain = g.colours
    (file, _), (rank, _) = _cells(g.x, 5), _cells(g.y, 5)
    squares = _mix(white, black, (file + rank) % 2)
    return _mix(squares, grain, 0.12 * (1 + np.sin(90 * g.y + 14 * g.noise)))


def _water(g: Ground) -> Field:
    shallow, deep, weed = g.colours
    rays = np.sin(11 * (g.x + 0.5 * g.y) + 3 * g.noise) * (1 - g.y)
    picture = _mix(_mix(shallow, deep, g.y), shallow + 50, 0.7 * (rays - 0.25))
    stem, across = _cells(g.x + 0.025 * np.sin(13 * g.y), 7)
    tall = 0.9 - g.rng.uniform(0.05, 0.5, 64)[stem] * (g.rng.random(64) < 0.6)[stem]
    picture = _mix(picture, weed, (abs(across - 0.5) < 0.17) & (g.y > tall))
    return _mix(picture, np.array([226.0, 200, 146]), 60 * (g.y - 0.89 - 0.05 * (g.noise - 0.5)))


SCENES: dict[str, Callable[[Ground], Field]] = {
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
