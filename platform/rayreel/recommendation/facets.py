"""What the videos of a release can be filtered by: their categories, tags, durations and metadata, counted."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from rayreel.client.messages import CategoryCount, Facets, MetadataField, NumberRange
from rayreel.recommendation.live import Live
from rayreel.release.rows import VideoRow

MOST_VALUES = 100
# Metadata that nearly every video has another value of, such as a source file, is no filter.
MOST_DISTINCT = 200


def facets_of(live: Live) -> Facets:
    """Count the values of all videos. Takes some microseconds per video."""
    rows = live.page("", len(live))
    return Facets(
        videos=len(rows),
        categories=_counted(Counter(row.category for row in rows if row.category)),
        tags=_counted(Counter(tag for row in rows for tag in row.tags)),
        duration_s=_range(row.duration_s for row in rows if row.duration_s is not None),
        metadata=list(_metadata(rows)),
    )


def _metadata(rows: Iterable[VideoRow]) -> Iterable[MetadataField]:
    numbers, texts = defaultdict[str, list[float]](list), defaultdict[str, Counter[str]](Counter)
    for row in rows:
        _collect(row.extra, numbers, texts)
    for name in sorted(numbers.keys() | texts.keys()):
        values = texts.get(name, Counter())
        if name in numbers and not values:
            yield MetadataField(name=name, range=_range(numbers[name]))
        elif 1 < len(values) <= MOST_DISTINCT:
            yield MetadataField(name=name, values=_counted(values))


def _collect(extra: Mapping[str, object], numbers: dict[str, list[float]], texts: dict[str, Counter[str]]) -> None:
    for name, value in extra.items():
        if isinstance(value, str):
            texts[name][value] += 1
        elif isinstance(value, int | float) and not isinstance(value, bool):
            numbers[name].append(value)


def _counted(values: Counter[str]) -> list[CategoryCount]:
    best = sorted(values.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_VALUES]
    return [CategoryCount(value=value, videos=count) for value, count in best]


def _range(values: Iterable[float]) -> NumberRange | None:
    known = list(values)
    return NumberRange(smallest=min(known), largest=max(known)) if known else None
