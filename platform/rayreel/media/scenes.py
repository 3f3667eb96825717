"""Find scene changes from packet sizes. Nothing is decoded."""

from collections import deque
from collections.abc import Sequence

from rayreel.media.packets import Sample

# A picture of a new scene cannot be predicted from earlier ones, so its packet is large: (times the largest of the last
# `_PACKETS`, share of the keyframe). On real clips this moves one in forty displaced pictures and costs 2 % more
# decoding. Lower thresholds cost more than they find.
_STANDS_OUT = ((2.0, 0.1), (1.3, 0.5))
_PACKETS = 25
_FEWEST = 3


def changes(samples: Sequence[Sample], after: float, until: float) -> list[int]:
    """Return the ticks of likely first pictures of a scene, later than tick `after` and up to `until`.

    These have a packet much larger than the previous ones, and not tiny compared with the keyframe.
    """
    found: list[int] = []
    keyframe, before = 0, deque[int](maxlen=_PACKETS)
    for sample in samples:
        if sample.dts is not None and sample.dts > until:
            break
        if sample.keyframe:
            keyframe = sample.size
            continue
        if after < sample.pts <= until and len(before) >= _FEWEST and _stands_out(sample.size, max(before), keyframe):
            found.append(sample.pts)
        before.append(sample.size)
    return found


def _stands_out(size: int, largest: int, keyframe: int) -> bool:
    return any(size >= times * largest and size >= share * keyframe for times, share in _STANDS_OUT)
