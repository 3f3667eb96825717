"""What a catalog's source holds that became neither a video nor a problem."""

from collections import Counter
from dataclasses import dataclass, field

MOST_NAMES = 5


@dataclass
class LeftOut:
    """Counts by kind, with the first names of each."""

    counts: Counter[str] = field(default_factory=Counter)
    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, name: str) -> None:
        """Count one of a kind, such as `hidden files or folders`."""
        self.counts[kind] += 1
        if len(named := self.names.setdefault(kind, [])) < MOST_NAMES:
            # A file's name may hold line breaks, control sequences and bytes that are not UTF-8.
            named.append(name if name.isprintable() else ascii(name)[1:-1])

    def lines(self) -> list[str]:
        """One line per kind, the most frequent first."""
        return [
            f"{kind}: {count} ({', '.join(self.names[kind])}{', …' if count > MOST_NAMES else ''})"
            for kind, count in self.counts.most_common()
        ]
