"""Choose a part of a labelled data set: classes, and clips of each class."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from rayreel.catalog.problem import CatalogError


@dataclass(frozen=True, slots=True)
class Subset:
    """Which clips to take; empty and None do not restrict.

    `classes`: names; `max_classes`: the first of them by name; `max_clips`: the number per class.
    """

    classes: tuple[str, ...] = ()
    max_classes: int | None = None
    max_clips: int | None = None

    @property
    def is_all(self) -> bool:
        """Whether every clip is taken."""
        return not self.classes and self.max_classes is None and self.max_clips is None

    def choose(self, names: Iterable[str]) -> list[str]:
        """Return the chosen clips, sorted, of names `Class/group_clip`. The same names give the same choice.

        The first clip of every group is taken before the second of any, so that few clips show many recordings. A
        choice from any part of `names` that contains the chosen clips is the same. Raises CatalogError for a class
        without clips.
        """
        by_class: defaultdict[str, list[str]] = defaultdict(list)
        for name in sorted(set(names)):
            by_class[name.partition("/")[0]].append(name)
        if unknown := [name for name in self.classes if name not in by_class]:
            known = ", ".join(list(by_class)[:200]) or "none"
            raise CatalogError(f"There is no class {', '.join(unknown)}. Choose from {known}.")
        classes = sorted(set(self.classes) or by_class)[: self.max_classes]
        return sorted(clip for name in classes for clip in _evenly(by_class[name])[: self.max_clips])


def _evenly(clips: Iterable[str]) -> list[str]:
    """Order sorted clips by their number within their group, then by group."""
    places: defaultdict[str, int] = defaultdict(int)
    ranked = []
    for clip in clips:
        group = clip.rpartition("_")[0]
        ranked.append((places[group], clip))
        places[group] += 1
    return [clip for _, clip in sorted(ranked)]
