"""The encoders of a release in the memory of a replica."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import numpy as np

from rayreel.encoders.encoder import WordEncoders
from rayreel.encoders.load import Encoders, load_encoders, load_word_encoders
from rayreel.features.key import EncoderKey
from rayreel.media.config import AUDIO_RATE_HZ
from rayreel.settings import Settings

K = TypeVar("K", bound=Hashable)
X = TypeVar("X")


@dataclass(frozen=True, slots=True, eq=False)
class EncoderSet:
    """The frozen encoders of one feature store: of videos, and of queries in words."""

    encoders: Encoders
    words: WordEncoders
    key: EncoderKey

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """Load the networks and run each once, because the first run takes many times longer than the others."""
        encoders = load_encoders(settings.encoders, settings.weights_cache)
        words = load_word_encoders(settings.encoders, settings.weights_cache, encoders.text)
        made, size = cls(encoders, words, EncoderKey.of(encoders, settings.sampling)), encoders.visual.frame_size
        encoders.visual.encode(np.zeros((encoders.visual.window, size, size, 3), np.uint8))
        encoders.audio.encode(np.zeros((1, round(settings.sampling.audio_window_s * AUDIO_RATE_HZ)), np.float32))
        encoders.text.encode(["warm up"])
        words.encode(["warm up"])
        return made


def run_each(items: Sequence[tuple[K, X]], run: Callable[[K, list[X]], Iterable[Any]]) -> list[Any]:
    """Run the items of each network as one batch; return the results in the order of the items.

    >>> run_each([("a", 1), ("b", 2), ("a", 3)], lambda key, values: [f"{key}{v} of {len(values)}" for v in values])
    ['a1 of 2', 'b2 of 1', 'a3 of 2']
    """
    found: dict[int, Any] = {}
    for key in dict.fromkeys(key for key, _ in items):
        places = [place for place, (own, _) in enumerate(items) if own is key]
        found |= zip(places, run(key, [items[place][1] for place in places]), strict=True)
    return [found[place] for place in range(len(items))]
