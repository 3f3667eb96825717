"""Where the scene changes, as far as packets show it. Nothing is decoded."""

from collections.abc import Sequence

from rayreel.media.packets import Sample

# A picture of a new scene refers to nothing before it, and the size of its packet shows that: so many times the largest
# of the second before, and that share of the keyframe. Over real clips this moves one in forty displaced pictures and
# costs 2 % more decoding; lower thresholds cost more than they find.
_STANDS_OUT = ((2.0, 0.1), (1.3, 0.5))
_PACKETS = 25
_FEWEST = 3


def changes(samples: Sequence[Sample], after: float, until: float) -> list[int]:
    """Ticks of pictures that look like the first one of a scene, later than tick `after` and up to `until`.

    From sizes alone: a packet much larger than those before it, and not tiny beside the keyframe.
    """
    found: list[int] = []
    keyframe, before = 0, list[int]()
    for sample in samples:
        if sample.dts is not None and sample.dts > until:
            break
        if sample.keyframe:
            keyframe = sample.size
            continue
        if after < sample.pts <= until and len(before) >= _FEWEST and _stands_out(sample.size, max(before), keyframe):
            found.append(sample.pts)
        before = [*before[1 - _PACKETS :], sample.size]
    return found


def _stands_out(size: int, largest: int, keyframe: int) -> bool:
    return any(size >= times * largest and size >= share * keyframe for times, share in _STANDS_OUT)
