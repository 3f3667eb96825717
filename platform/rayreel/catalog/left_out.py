"""Files and columns of a catalog's source that were skipped."""

from collections import Counter
from dataclasses import dataclass, field

MOST_NAMES = 5


@dataclass
class LeftOut:
    """Counts of skipped items by kind, with the first few names of each."""

    counts: Counter[str] = field(default_factory=Counter)
    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, name: str) -> None:
        """Count one item of a kind, such as `hidden files or folders`."""
        self.counts[kind] += 1
        if len(names := self.names.setdefault(kind, [])) < MOST_NAMES:
            # File names may contain line breaks, control sequences and bytes that are not UTF-8.
            names.append(name if name.isprintable() else ascii(name)[1:-1])

    def lines(self) -> list[str]:
        """Return one line per kind, most frequent first."""
        return [
            f"{kind}: {count} ({', '.join(self.names[kind])}{', …' if count > MOST_NAMES else ''})"
            for kind, count in self.counts.most_common()
        ]
