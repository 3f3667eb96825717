"""The shapes of sprites."""

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]
Picture = NDArray[np.uint8]  # [height, width, 3] RGB


def stamp(shape: str, radius: int) -> Field:
    """Return a shape's opacity, [2 * radius + 1, 2 * radius + 1]."""
    v, u = np.meshgrid(*[np.linspace(-1.1, 1.1, 2 * radius + 1)] * 2, indexing="ij")
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
