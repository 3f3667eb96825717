"""Log-mel statistics of waveform windows: an audio encoder without weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torchaudio.transforms import MelSpectrogram

from rayreel.encoders.compute import Compute
from rayreel.encoders.encoder import Vectors
from rayreel.encoders.runtime import encode_rows, torch_runtime
from rayreel.media.config import AUDIO_RATE_HZ

MEL_BANDS = 64
FFT, WINDOW, HOP = 512, 400, 160  # samples: 25 ms windows every 10 ms


class LogMel(nn.Module):
    """Log-mel statistics as a network without parameters: [B, samples] -> [B, 192]."""

    def __init__(self) -> None:
        super().__init__()
        self.mel = MelSpectrogram(
            AUDIO_RATE_HZ, FFT, WINDOW, HOP, f_min=125.0, f_max=7500.0, n_mels=MEL_BANDS, power=1.0, center=False
        )

    def forward(self, windows_BS: Tensor) -> Tensor:
        """Map windows to the mean, standard deviation and mean absolute change of their log-mel bands."""
        x_BS = F.pad(windows_BS, (0, max(0, FFT + HOP - windows_BS.shape[1])))
        mel_BMT = torch.log(self.mel(x_BS) + 0.01)
        std_BM, mean_BM = torch.std_mean(mel_BMT, dim=2, correction=0)
        return torch.cat([mean_BM, std_BM, mel_BMT.diff(dim=2).abs().mean(dim=2)], dim=1)


class LogMelAudio:
    """Mean, standard deviation and mean absolute change over time of 64 log-mel bands: [N, samples] -> [N, 192].

    The front end is VGGish's (Hershey et al. 2017): magnitude STFT, 125 to 7500 Hz, log(mel + 0.01). That offset keeps
    silence finite. Windows shorter than two STFT frames (42 ms) are padded with silence. Always runs in torch and fp32:
    other runtimes gain nothing, and lower precision loses the logarithm of small sums.
    """

    dim = 3 * MEL_BANDS

    def __init__(self, identity: str, compute: Compute) -> None:
        self.identity = identity
        self._runtime = torch_runtime(LogMel(), replace(compute, dtype=torch.float32, compile=False))

    def encode(self, windows_NS: NDArray[np.float32]) -> Vectors:
        """Map [N, samples] float32 at 16 kHz in [-1, 1] to [N, 192]."""
        return encode_rows(windows_NS, self._runtime, self.dim)


def load_log_mel(folder: Path | None, identity: str, compute: Compute) -> LogMelAudio:
    """Load the log-mel encoder. It has no files; the signature is that of every loader."""
    del folder
    return LogMelAudio(identity, compute)
