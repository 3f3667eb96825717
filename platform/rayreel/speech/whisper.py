"""Whisper on CTranslate2: the voices of many videos to transcripts, in common batches."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rayreel.media.config import AUDIO_RATE_HZ
from rayreel.speech.confidence import believable
from rayreel.speech.config import SpeechConfig
from rayreel.speech.transcript import SpokenSegment, Transcript
from rayreel.speech.voice import Voice

_PRECISIONS = {"int8": "int8", "fp16": "float16", "fp32": "float32"}
_MOST_TOKENS = 224  # of a stretch, Whisper's own limit; more is a repetition


class Whisper:
    """A loaded model. `threads` of a CPU; 0: OMP_NUM_THREADS, or 4 (CTranslate2)."""

    def __init__(self, folder: Path, config: SpeechConfig, threads: int = 0) -> None:
        from ctranslate2 import get_cuda_device_count
        from faster_whisper import BatchedInferencePipeline, WhisperModel

        device = config.device if config.device != "auto" else "cuda" if get_cuda_device_count() else "cpu"
        precision = config.precision if config.precision != "auto" else "fp16" if device == "cuda" else "int8"
        self.config = config
        self.network = WhisperModel(
            str(folder), device=device, compute_type=_PRECISIONS[precision], cpu_threads=threads, local_files_only=True
        )
        self._batched = BatchedInferencePipeline(self.network)

    def transcripts(self, voices: Mapping[int, Voice]) -> dict[int, Transcript]:
        """Return what each voice says, with the same keys. Raises RuntimeError if the model fails."""
        languages = {place: self._language(voice) for place, voice in voices.items()}
        segments = dict[int, list[SpokenSegment]]()
        for language in sorted(set(languages.values())):
            spoken = {place: voice for place, voice in voices.items() if languages[place] == language}
            segments |= self._segments(spoken, language)
        return {
            place: Transcript(languages[place] if found else None, tuple(found)) for place, found in segments.items()
        }

    def _language(self, voice: Voice) -> str:
        """Return the language of a voice, by its first stretch."""
        if not self.network.model.is_multilingual:
            return "en"
        begin, end = voice.stretches[0]
        return self.config.language or str(self.network.detect_language(voice.samples[begin:end])[0])

    def _segments(self, voices: Mapping[int, Voice], language: str) -> dict[int, list[SpokenSegment]]:
        """Transcribe voices of one language as one sound, whose stretches are read in batches."""
        bases = dict(zip(voices, np.cumsum([0, *(len(voice.samples) for voice in voices.values())]), strict=False))
        stretches = [
            (place, int(bases[place]) + begin, int(bases[place]) + end)
            for place, voice in voices.items()
            for begin, end in voice.stretches
        ]
        found, _ = self._batched.transcribe(
            np.concatenate([voice.samples for voice in voices.values()]),
            language=language,
            beam_size=self.config.beam,
            temperature=0,
            max_new_tokens=_MOST_TOKENS,
            without_timestamps=False,
            clip_timestamps=[
                {"start": begin / AUDIO_RATE_HZ, "end": end / AUDIO_RATE_HZ} for _, begin, end in stretches
            ],
            batch_size=self.config.batch,
        )
        said: dict[int, list[SpokenSegment]] = {place: [] for place in voices}
        for (place, _, end), of_stretch in _by_stretch(list(found), stretches, self.network.frames_per_second):
            base_s, end_s = bases[place] / AUDIO_RATE_HZ, end / AUDIO_RATE_HZ
            kept = believable(of_stretch)
            said[place] += [
                _timed(segment, voices[place], base_s, end_s)
                for segment, keep in zip(of_stretch, kept, strict=True)
                if keep and segment.start < end_s
            ]
        return said


def _by_stretch(
    segments: Sequence[Any], stretches: Sequence[tuple[int, int, int]], frames_per_s: int
) -> Iterator[tuple[tuple[int, int, int], list[Any]]]:
    """Yield each stretch with its segments, which name it by its first frame in `seek`."""
    of = defaultdict[int, list[Any]](list)
    for segment in segments:
        of[segment.seek].append(segment)
    for stretch in stretches:
        begin = int(stretch[1] / AUDIO_RATE_HZ * AUDIO_RATE_HZ)  # as faster-whisper rounds it
        yield stretch, of[int(begin / AUDIO_RATE_HZ * frames_per_s)]


def _timed(segment: Any, voice: Voice, base_s: float, end_s: float) -> SpokenSegment:  # noqa: ANN401
    """Return a segment with times of its track. Whisper rounds them up, past the end of the stretch."""
    begin_s = voice.at(max(0.0, segment.start - base_s))
    return SpokenSegment(
        begin_s, max(begin_s, voice.at(min(segment.end, end_s) - base_s, end=True)), segment.text.strip()
    )
