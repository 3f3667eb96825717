"""The tracks of many videos to transcripts: where there is a voice, a model of speech recognition reads it."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rayreel.encoders.hub_files import CTRANSLATE2, format_of
from rayreel.failures import Reason, Rejected
from rayreel.speech.config import SpeechConfig
from rayreel.speech.transcript import Transcript
from rayreel.speech.voice import Voice, find_voice

log = logging.getLogger(__name__)


class SpeechModel(Protocol):
    """A loaded model of speech recognition."""

    def transcripts(self, voices: Mapping[int, Voice]) -> dict[int, Transcript]:
        """Return what each voice says, with the same keys. Raises RuntimeError if the model fails."""
        ...


class Transcriber:
    """Transcribes tracks by one model."""

    def __init__(self, model: SpeechModel) -> None:
        self.model = model

    def transcribe(self, tracks: Sequence[NDArray[np.int16]]) -> list[Transcript | Rejected]:
        """Return what is said in each track, int16 [n] at 16 kHz, or why it cannot be transcribed.

        Where there is no voice the model does not run. A batch that fails is repeated track by track.
        """
        voices = {place: voice for place, track in enumerate(tracks) if (voice := find_voice(track)) is not None}
        found: dict[int, Transcript | Rejected] = {}
        try:
            found |= self.model.transcripts(voices) if voices else {}
        except RuntimeError as error:
            log.warning("transcribing track by track: %s", error)
            found |= {place: self._alone(voice) for place, voice in voices.items()}
        return [found.get(place, Transcript()) for place in range(len(tracks))]

    def _alone(self, voice: Voice) -> Transcript | Rejected:
        try:
            return self.model.transcripts({0: voice})[0]
        except RuntimeError as error:
            return Rejected(Reason.NOT_TRANSCRIBED, f"speech recognition failed: {error}")


def load_transcriber(folder: Path, config: SpeechConfig, threads: int = 0) -> Transcriber:
    """Load the model of a folder: Whisper in CTranslate2's format, or Parakeet in that of transformers.

    `threads` of a CPU; 0: OMP_NUM_THREADS, or the library's default. Raises RayreelError for another model.
    """
    if format_of(folder) is CTRANSLATE2:
        from rayreel.speech.whisper import Whisper

        return Transcriber(Whisper(folder, config, threads))
    from rayreel.speech.parakeet import Parakeet

    return Transcriber(Parakeet(folder, config, threads))
