"""Parakeet (NVIDIA) by transformers: English by CTC, 25 European languages by TDT, many times faster than Whisper."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from rayreel.encoders.checkpoint import LOCAL, quiet
from rayreel.encoders.compute import best_device
from rayreel.errors import RayreelError
from rayreel.media.config import AUDIO_RATE_HZ
from rayreel.speech.config import SpeechConfig
from rayreel.speech.transcript import SpokenSegment, Transcript
from rayreel.speech.voice import Voice

ARCHITECTURES = ("ParakeetForCTC", "ParakeetForTDT", "ParakeetForRNNT")


class Parakeet:
    """A loaded model, which reads one region of voice at a time: each is a segment. `threads` of a CPU; 0: torch's."""

    def __init__(self, folder: Path, config: SpeechConfig, threads: int = 0) -> None:
        if threads:
            torch.set_num_threads(threads)
        self.config = config
        self.device = torch.device(config.device) if config.device != "auto" else best_device()
        half = config.precision == "fp16" or (config.precision == "auto" and self.device.type == "cuda")
        self.dtype = torch.float16 if half else torch.float32
        network, self.processor = _loaded(folder)
        self.network = network.to(self.device, self.dtype).eval()

    def transcripts(self, voices: Mapping[int, Voice]) -> dict[int, Transcript]:
        """Return what each voice says, with the same keys. Raises RuntimeError if the model fails."""
        regions = [(place, region) for place, voice in voices.items() for region in _regions(voice)]
        # Sounds of a batch are padded to the longest.
        order = sorted(range(len(regions)), key=lambda n: len(regions[n][1][1]))
        texts: dict[int, str] = {}
        for first in range(0, len(order), self.config.batch):
            batch = order[first : first + self.config.batch]
            texts |= dict(zip(batch, self._read([regions[n][1][1] for n in batch]), strict=True))
        said: dict[int, list[SpokenSegment]] = {place: [] for place in voices}
        for n, (place, (begin, sound)) in enumerate(regions):
            if any(letter.isalnum() for letter in texts[n]):
                end = begin + len(sound)
                said[place].append(SpokenSegment(begin / AUDIO_RATE_HZ, end / AUDIO_RATE_HZ, texts[n].strip()))
        return {place: Transcript(self._language if found else None, tuple(found)) for place, found in said.items()}

    @property
    def _language(self) -> str | None:
        """The language: CTC models know English only; the others do not say which they heard."""
        return self.config.language or ("en" if self.network.config.model_type == "parakeet_ctc" else None)

    @torch.inference_mode()
    def _read(self, sounds: list[NDArray[np.float32]]) -> list[str]:
        inputs = self.processor(sounds, sampling_rate=AUDIO_RATE_HZ).to(self.device, self.dtype)
        found = self.network.generate(**inputs)
        texts: list[str] = self.processor.batch_decode(getattr(found, "sequences", found), skip_special_tokens=True)
        return texts


def _regions(voice: Voice) -> list[tuple[int, NDArray[np.float32]]]:
    """Return each region of a voice: its first sample in the track, and its sound."""
    lengths = [region["end"] - region["start"] for region in voice.regions]
    sounds = np.split(voice.samples, np.cumsum(lengths)[:-1])
    return [(region["start"], sound) for region, sound in zip(voice.regions, sounds, strict=True)]


def _loaded(folder: Path) -> tuple[Any, Any]:
    """Load network and processor, without running code of the checkpoint.

    Raises RayreelError for another kind of model, and if a parameter is missing, which would be random.
    """
    try:
        kinds = transformers.AutoConfig.from_pretrained(folder, **LOCAL).architectures or ["unknown"]
        if kinds[0] not in ARCHITECTURES:
            raise RayreelError(f"{folder} is a {kinds[0]}. Speech recognition reads {', '.join(ARCHITECTURES)}.")
        with quiet():
            network, report = getattr(transformers, kinds[0]).from_pretrained(
                folder, **LOCAL, dtype=torch.float32, output_loading_info=True
            )
        processor = transformers.AutoProcessor.from_pretrained(folder, **LOCAL)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise RayreelError(f"{folder} cannot be used for speech recognition: {error}") from error
    if report["missing_keys"]:
        raise RayreelError(f"{folder} is not complete: it has no parameter {sorted(report['missing_keys'])[0]}")
    return network, processor
