"""Grids: which settings a sweep tries."""

import itertools
import re
from collections.abc import Iterable, Sequence

from rayreel.errors import RayreelError

Cell = tuple[str, ...]
"""Settings to be tried together, each as `part.key=value`."""

Axis = tuple[Cell, ...]
"""What stands in each other's place."""

# What decides the data, the split or the measure would make the numbers of one table incomparable.
_VARIED = ("tower", "loss", "pairs", "train")
_COMMA_OUTSIDE_BRACKETS = re.compile(r",(?![^\[]*\])")


class ImpossibleGrid(RayreelError):
    """A grid that says nothing, or varies what a comparison has to hold fast."""


def axis(text: str) -> Axis:
    """`loss.kind=triplet,contrastive` as an axis; a value that is a list itself has its brackets.

    Raises ImpossibleGrid.
    """
    name, sign, values = text.partition("=")
    if not (name and sign and values):
        raise ImpossibleGrid(f"--grid {text}: expected part.key=value,value such as loss.kind=triplet,contrastive")
    if name.partition(".")[0] not in _VARIED:
        raise ImpossibleGrid(
            f"--grid {text}: a sweep varies settings of {', '.join(_VARIED)}. What decides the data, the split or the "
            "measure is the same for all trials: give it with --set."
        )
    return tuple((f"{name}={value.strip()}",) for value in _COMMA_OUTSIDE_BRACKETS.split(values))


PRESETS: dict[str, tuple[Axis, ...]] = {
    # The 2 x 2 design of the master thesis "Seeing, Hearing, and Reading": {pair, triplet} x {cosine, Euclidean}.
    "s5": (
        (("pairs.views=0", "pairs.co_liked=1", "loss.mining=semi_hard"),),
        axis("loss.kind=contrastive,triplet"),
        axis("loss.distance=cosine,euclidean"),
    ),
    "fusions": (axis("tower.fusion=gated,concat,attention"),),
    "losses": (axis("loss.kind=infonce,supcon,triplet,contrastive"),),
    "pairs": (
        (
            ("pairs.views=1",),
            ("pairs.views=0", "pairs.cross_modal=1"),
            ("pairs.views=0", "pairs.label=1"),
            ("pairs.views=0", "pairs.co_watched=1"),
            ("pairs.views=0", "pairs.co_liked=1"),
            ("pairs.views=1", "pairs.cross_modal=1", "pairs.label=1"),
            ("pairs.views=0", "pairs.noise=1"),
        ),
    ),
    "modalities": (axis("tower.modalities=[visual],[visual, audio],[visual, audio, text]"),),
}
"""Named grids."""


def cells_of(preset: str | None, grids: Iterable[str]) -> list[Cell]:
    """All cells of a preset's axes and the given ones, each once. Raises ImpossibleGrid when there are none."""
    there = ", ".join(PRESETS)
    if preset is not None and preset not in PRESETS:
        raise ImpossibleGrid(f"--preset {preset}: there are {there}.")
    axes = [*(PRESETS[preset] if preset else ()), *(axis(text) for text in grids)]
    if not axes:
        raise ImpossibleGrid(f"Nothing to sweep over. Give --grid loss.kind=infonce,triplet or a --preset: {there}.")
    return list(dict.fromkeys(tuple(itertools.chain(*parts)) for parts in itertools.product(*axes)))


def common(cells: Sequence[Cell]) -> Cell:
    """The settings that all cells share; none where there is one cell only."""
    return tuple(setting for setting in cells[0] if len(cells) > 1 and all(setting in cell for cell in cells))


def labels(cells: Sequence[Cell]) -> list[str]:
    """What tells each cell from the others."""
    return [", ".join(setting for setting in cell if setting not in common(cells)) for cell in cells]
