"""Encode waveform windows with VGGish (Hershey et al. 2017), from the weights of torchvggish."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchaudio.transforms import Spectrogram
from transformers.audio_utils import mel_filter_bank

from rayreel.encoders.checkpoint import read_state
from rayreel.encoders.compute import Compute
from rayreel.encoders.encoder import Vectors
from rayreel.encoders.runtime import Runtime, encode_rows, start
from rayreel.encoders.weights import VGGISH
from rayreel.media.config import AUDIO_RATE_HZ

FFT, WINDOW, HOP = 512, 400, 160  # samples: 25 ms windows every 10 ms
MEL_BANDS, STEPS = 64, 96  # of one example, 0.96 s
SHORTEST = WINDOW + (STEPS - 1) * HOP  # samples of one example
WIDTHS = (64, 0, 128, 0, 256, 256, 0, 512, 512, 0)  # 0: halve time and bands
DIM = 128


class VGGishNetwork(nn.Module):
    """VGGish without its principal components: log-mel examples [B, 1, 96, 64] -> [B, 128]."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 1
        for width in WIDTHS:
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()] if width else [nn.MaxPool2d(2)]
            inputs = width or inputs
        self.features = nn.Sequential(*layers)
        widths = (512 * 4 * 6, 4096, 4096, DIM)
        linear = ([nn.Linear(a, b), nn.ReLU()] for a, b in pairwise(widths))
        self.embeddings = nn.Sequential(*(layer for pair in linear for layer in pair))

    def forward(self, x_B1TF: Tensor) -> Tensor:
        """Map examples to vectors. The weights expect channels last, as in TensorFlow."""
        vectors_BD: Tensor = self.embeddings(self.features(x_B1TF).permute(0, 2, 3, 1).flatten(1))
        return vectors_BD


class VGGishAudio:
    """Mean over the examples of 0.96 s in a window: [N, samples] at 16 kHz -> [N, 128].

    Windows shorter than one example are padded with silence; what remains after the last whole example is left out.
    """

    dim = DIM

    def __init__(self, runtime: Runtime, identity: str) -> None:
        self.identity, self._runtime = identity, runtime
        # Padded, because torch's frames are as long as the FFT, with the window in the middle. In double precision,
        # because in float32 quiet bands beside loud ones would be wrong by up to 3e-4.
        self._spectrum = Spectrogram(
            FFT, WINDOW, HOP, (FFT - WINDOW) // 2, power=1.0, center=False, wkwargs={"dtype": torch.float64}
        )
        # torchaudio's filters are triangles over hertz, not over mels.
        bank_FM = mel_filter_bank(
            FFT // 2 + 1, MEL_BANDS, 125.0, 7500.0, AUDIO_RATE_HZ, triangularize_in_mel_space=True
        )
        self._bank_FM = torch.from_numpy(bank_FM)

    def encode(self, windows_NS: NDArray[np.float32]) -> Vectors:
        """Map [N, samples] float32 in [-1, 1] to [N, 128]."""
        if not len(windows_NS):
            return np.empty((0, DIM), dtype=np.float32)
        examples = [self._examples(window_S) for window_S in windows_NS]
        vectors_ND = encode_rows(np.concatenate(examples), self._runtime, DIM)
        means_ND: Vectors = vectors_ND.reshape(len(windows_NS), -1, DIM).mean(axis=1)
        return means_ND

    def _examples(self, window_S: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the log-mel examples of one window, [n, 1, 96, 64]."""
        padded_S = np.pad(window_S, (0, max(0, SHORTEST - len(window_S))))
        mel_TM = torch.log(self._spectrum(torch.from_numpy(padded_S).double()).T @ self._bank_FM + 0.01).float()
        count = len(mel_TM) // STEPS
        examples: NDArray[np.float32] = mel_TM[: count * STEPS].reshape(count, 1, STEPS, MEL_BANDS).numpy()
        return examples


def load_vggish(folder: Path | None, identity: str, compute: Compute) -> VGGishAudio:
    """Load VGGish, 128-d. Without a folder the parameters are random."""
    network = VGGishNetwork()
    if folder is not None:
        network.load_state_dict(read_state(folder / VGGISH.files[0].name), strict=True)
    example = torch.zeros(1, 1, STEPS, MEL_BANDS)
    return VGGishAudio(start(network, (example,), compute, any_length=False), identity)
