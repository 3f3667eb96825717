"""The speech in a track: where it is, cut into stretches that Whisper can read."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rayreel.media.config import AUDIO_RATE_HZ

STRETCH_S = 30  # what Whisper reads in one pass
_PAUSE_MS = 160  # as faster-whisper's batched pipeline
_SILENCE = 33  # of int16, 60 dB below full scale: the detector need not run


@dataclass(frozen=True, slots=True)
class Voice:
    """The speech of one track without its pauses: float32 [n], and the stretches of up to 30 s, samples of it.

    `regions` are the places in the track, in the form of faster-whisper.
    """

    samples: NDArray[np.float32]
    stretches: tuple[tuple[int, int], ...]
    regions: list[dict[str, int]]

    def at(self, speech_s: float, *, end: bool = False) -> float:
        """Return the time in the track of a time in the speech, seconds."""
        from faster_whisper.vad import SpeechTimestampsMap

        return float(SpeechTimestampsMap(self.regions, AUDIO_RATE_HZ).get_original_time(speech_s, is_end=end))


def find_voice(track: NDArray[np.int16]) -> Voice | None:
    """Return the speech in a track, by Silero's voice activity detector; None if there is none."""
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    if not len(track) or np.abs(track.astype(np.int32)).max() < _SILENCE:
        return None
    sound = track.astype(np.float32) / 32768
    options = VadOptions(max_speech_duration_s=STRETCH_S, min_silence_duration_ms=_PAUSE_MS)
    regions = get_speech_timestamps(sound, options)
    if not regions:
        return None
    samples = np.concatenate([sound[region["start"] : region["end"]] for region in regions])
    return Voice(samples, _stretches([region["end"] - region["start"] for region in regions]), regions)


def _stretches(lengths: list[int]) -> tuple[tuple[int, int], ...]:
    """Join neighbouring regions up to the length of a stretch."""
    stretches, begin, end = list[tuple[int, int]](), 0, 0
    for length in lengths:
        if end > begin and end + length - begin > STRETCH_S * AUDIO_RATE_HZ:
            stretches.append((begin, end))
            begin = end
        end += length
    return (*stretches, (begin, end))
