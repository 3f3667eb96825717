"""A GPU with fixed times of a launch and of a row, and decoders with a fixed CPU time, for Ray's workers."""

import fcntl
import time
from pathlib import Path
from typing import Any

import numpy as np

from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.encoder import Vectors
from rayreel.encoders.load import Encoders
from rayreel.encoders.passes import PassMeter
from rayreel.failures import Rejected
from rayreel.features.encoding import EncodeVideos
from rayreel.features.key import EncoderKey
from rayreel.media.clip import Samples
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.decode import decode_samples
from rayreel.media.source import VideoFile

ROWS, DIM = 256, 4
LAUNCH_S = 0.05


class SimulatedEncoder:
    """Passes of ROWS rows that hold the GPU, a locked file, and take no CPU."""

    identity, dim, window, frame_size = "simulated", DIM, 1, 32

    def __init__(self, gpu: Path, row_s: float, meter: PassMeter) -> None:
        self._gpu, self._pass_s, self._meter = gpu, LAUNCH_S + ROWS * row_s, meter

    def encode(self, inputs: Any, *, query: bool = False) -> Vectors:  # noqa: ANN401 - by modality
        """Return zeros [N, DIM] after the time of the passes."""
        del query
        for _ in range(0, len(inputs), ROWS):
            with self._gpu.open("a") as device:
                fcntl.flock(device, fcntl.LOCK_EX)
                time.sleep(self._pass_s)
        self._meter.seconds += len(inputs) * self._pass_s / ROWS
        return np.zeros((len(inputs), DIM), np.float32)

    def knows(self, word: str) -> bool:
        """Whether a word is not empty."""
        return bool(word)


class SimulatedGPU(EncodeVideos):
    """Encodes frames on the GPU; sound and text take no time. The seconds of a row are in the cache folder."""

    def __init__(self, config: EncodersConfig, key: EncoderKey, cache: Path, videos: int = 1) -> None:
        del config, videos
        meter, row_s = PassMeter(), float((cache / "row_s").read_text())
        visual, other = SimulatedEncoder(cache / "gpu", row_s, meter), SimulatedEncoder(cache / "gpu", 0, PassMeter())
        other._pass_s = 0
        self.encoders, self.key, self._on_cpu = Encoders(visual, other, other, meter), key, False


def fast_decoder(file: VideoFile, sampling: SamplingConfig, size: int, limits: Limits) -> Samples | Rejected:
    """Decode a small film in a few milliseconds."""
    return decode_samples(file, sampling, size, limits)


def slow_decoder(file: VideoFile, sampling: SamplingConfig, size: int, limits: Limits) -> Samples | Rejected:
    """Take another 50 ms of CPU time."""
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    return decode_samples(file, sampling, size, limits)
