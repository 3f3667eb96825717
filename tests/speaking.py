"""A rendered sentence (espeak-ng, voice en-gb), of which WORDS are words, and the real model that recognises it."""

from functools import cache
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from rayreel.encoders.locate import locate
from rayreel.encoders.weights import WHISPER_TINY_EN
from rayreel.speech.config import SpeechConfig
from rayreel.speech.transcriber import Transcriber, load_transcriber

# Downloaded once and kept between runs. Not in the folder of other weights, where `auto` would find it.
SPEECH_WEIGHTS = Path(__file__).parents[1] / ".rayreel-test" / "speech"
SPOKEN = Path(__file__).parent / "speech" / "spoken.ogg"
WORDS = ["children", "playing", "football", "garden"]
RATE = 16_000


def made_transcriber() -> Transcriber:
    """Load the model."""
    folder = locate(WHISPER_TINY_EN, None, SPEECH_WEIGHTS)
    return load_transcriber(folder, SpeechConfig(beam=1, device="cpu"), threads=1)


@cache
def transcriber() -> Transcriber:
    """Return the model of this process."""
    return made_transcriber()


@cache
def spoken_track() -> NDArray[np.int16]:
    """Return the sentence at 16 kHz, three seconds."""
    with av.open(SPOKEN) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def silence(seconds: float) -> NDArray[np.int16]:
    """Return sound without any."""
    return np.zeros(round(seconds * RATE), np.int16)


def chord(seconds: float) -> NDArray[np.int16]:
    """Return a loud chord that swells twice a second."""
    t = np.arange(round(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * pitch * t) for pitch in (220.0, 277.2, 329.6)) * (1 + np.sin(4 * np.pi * t))
    return np.asarray(wave / np.abs(wave).max() * 20_000).astype(np.int16)
