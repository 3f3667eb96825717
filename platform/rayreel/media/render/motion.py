"""How sprites move: t [T, 1] -> x, y, opacity, each to be broadcast to [T, N]; lengths in frame heights."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from rayreel.media.render.shapes import Field

DEPTHS = (1.0, 0.65, 1.4)  # how near sprites are, and so how large and fast, in turn


class Course(NamedTuple):
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


def _swim(t: Field, c: Course) -> Path_TN:
    return c.across(t), c.any(0.1, 0.75) + 0.03 * c.wave(t, 2, 2), _OPAQUE


def _flap(t: Field, c: Course) -> Path_TN:
    return c.across(t), c.any(0.08, 0.5) + 0.05 * c.wave(t, 5, 5), _OPAQUE


def _traffic(t: Field, c: Course) -> Path_TN:
    return c.across(t), np.where(c.towards < 0, 0.84, 0.93) + c.any(-0.015, 0.015), _OPAQUE


def _burst(t: Field, c: Course) -> Path_TN:
    """Rockets burst in turn; air slows their sparks and gravity bends them."""
    rockets = 4
    rocket = np.arange(len(c.towards)) // len(DEPTHS) % rockets
    x, y = c.rng.uniform(0.2, 0.8, rockets)[rocket] * c.aspect, c.rng.uniform(0.2, 0.5, rockets)[rocket]
    age = (t / 1.3 + rocket / rockets + c.rng.random()) % 1
    angle, reach = c.any(0, 6.3), c.speed * np.sqrt(c.any(0.1, 1)) * (1 - np.exp(-3 * age))
    return x + reach * np.cos(angle), y + reach * np.sin(angle) + 0.18 * age**2, np.sqrt(1 - age)


def _fall(t: Field, c: Course) -> Path_TN:
    y = (c.any(0, 1.2) + abs(c.towards) * c.speed * t) % 1.2 - 0.1
    return c.any(0, c.aspect) + 0.03 * c.wave(t, 1.5, 1.5), y, _OPAQUE


def _simmer(t: Field, c: Course) -> Path_TN:
    r, angle = 0.34 * np.sqrt(c.any()), c.any(0, 6.3) + 0.15 * c.speed * t
    shake = 0.012 * c.speed
    x = c.aspect / 2 + r * np.cos(angle) + shake * c.wave(t, 8, 16)
    return x, 0.5 + r * np.sin(angle) + shake * c.wave(t, 8, 16), _OPAQUE


def _roam(t: Field, c: Course) -> Path_TN:
    x = c.aspect * (c.any(0.05, 0.95) + 0.12 * c.wave(t, 2 * c.speed, 4 * c.speed))
    return x, c.any(0.3, 0.85) + 0.08 * c.wave(t, 2 * c.speed, 4 * c.speed), _OPAQUE


def _beat(t: Field, c: Course) -> Path_TN:
    """A row of things struck in turn: each jumps and lights up, and settles."""
    order = np.arange(len(c.towards))
    struck = np.exp(-5 * ((t * c.speed + order / 2) % 1))
    y = 0.58 + 0.14 * np.cos(np.pi * order) * c.any(0.5, 1.2)
    return c.aspect * (order + 0.5) / len(order), y - 0.05 * struck, 0.8 + 0.2 * struck


def _zoom(t: Field, c: Course) -> Path_TN:
    angle, near = c.any(0, 6.3), (c.any() + c.speed * t) % 1
    r = c.aspect * near**1.7
    return c.aspect / 2 + r * np.cos(angle), 0.5 + r * np.sin(angle), np.sqrt(near)


def _step(t: Field, c: Course) -> Path_TN:
    """From cell to cell of a board of five rows, one after the other, out and back."""
    n, cell = len(c.towards), 0.2
    place = np.resize(c.rng.permutation(5 * math.ceil(c.aspect / cell)), n)
    turn = (c.speed * t / 2 + np.arange(n) / n) % 2
    glide = np.clip(3 * np.minimum(turn, 2 - turn) - 1, 0, 1) * cell * c.rng.integers(1, 3, n)
    x, y, sideways = place // 5 * cell + cell / 2, place % 5 * cell + cell / 2, c.any() < 0.5
    inwards_x, inwards_y = np.where(x > c.aspect / 2, -1, 1), np.where(y > 0.5, -1, 1)
    return x + glide * inwards_x * sideways, y + glide * inwards_y * ~sideways, _OPAQUE


MOTIONS: dict[str, Callable[[Field, Course], Path_TN]] = {
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
