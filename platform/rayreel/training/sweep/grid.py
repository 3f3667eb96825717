"""Grids: the settings of a sweep."""

import itertools
import re
from collections.abc import Iterable, Sequence

from rayreel.errors import RayreelError

Cell = tuple[str, ...]
"""Settings of one trial, each as `part.key=value`."""

Axis = tuple[Cell, ...]
"""Alternatives for one dimension of the grid."""

# Varying data, splits or metrics would make the numbers of one table incomparable.
_VARIED = ("tower", "loss", "pairs", "train")
_COMMA_OUTSIDE_BRACKETS = re.compile(r",(?![^\[]*\])")


class ImpossibleGrid(RayreelError):
    """A grid that is empty or malformed, or varies a setting that must be equal for all trials."""


def axis(text: str) -> Axis:
    """Parse `loss.kind=triplet,contrastive`; a value that is itself a list is written in brackets.

    Raises ImpossibleGrid if the text is malformed or the setting must not vary.
    """
    name, sign, values = text.partition("=")
    if not (name and sign and values):
        raise ImpossibleGrid(f"--grid {text}: expected part.key=value,value such as loss.kind=triplet,contrastive.")
    if name.partition(".")[0] not in _VARIED:
        raise ImpossibleGrid(
            f"--grid {text}: a sweep can vary settings of {', '.join(_VARIED)}. Data, splits and metrics are the same "
            "for all trials: set them with --set."
        )
    return tuple((f"{name}={value.strip()}",) for value in _COMMA_OUTSIDE_BRACKETS.split(values))


PRESETS: dict[str, tuple[Axis, ...]] = {
    # The 2 x 2 design of the master's thesis "Seeing, Hearing, and Reading", on semi-hard co-liked pairs.
    "losses-and-distances": (
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
    """Return the distinct cells of the product of all axes, of the preset and of `grids`.

    Raises ImpossibleGrid if there is no axis or no such preset.
    """
    presets = ", ".join(PRESETS)
    if preset is not None and preset not in PRESETS:
        raise ImpossibleGrid(f"--preset {preset}: unknown preset. Choose one of {presets}.")
    axes = [*(PRESETS[preset] if preset else ()), *(axis(text) for text in grids)]
    if not axes:
        raise ImpossibleGrid(
            f"The grid is empty. Pass --grid, such as --grid loss.kind=infonce,triplet, or a --preset: {presets}."
        )
    return list(dict.fromkeys(tuple(itertools.chain(*parts)) for parts in itertools.product(*axes)))


def common(cells: Sequence[Cell]) -> Cell:
    """Return the settings that all cells share; none if there is only one cell."""
    return tuple(setting for setting in cells[0] if len(cells) > 1 and all(setting in cell for cell in cells))


def labels(cells: Sequence[Cell]) -> list[str]:
    """Return a label for each cell: its settings that are not common to all cells."""
    return [", ".join(setting for setting in cell if setting not in common(cells)) for cell in cells]
