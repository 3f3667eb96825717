"""Waveform windows to vectors by Wav2Vec2 (Baevski et al. 2020)."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Wav2Vec2Config, Wav2Vec2Model

from rayreel.encoders.batches import encode_batches
from rayreel.encoders.checkpoint import load_backbone, read_state
from rayreel.encoders.encoder import Vectors
from rayreel.encoders.weights import WAV2VEC2_BASE

RECEPTIVE_FIELD = 400  # samples: what the convolutional front end needs for one output step
PRETRAINING_HEADS = ("quantizer.", "project_q.", "project_hid.", "dropout_features.")


class Wav2Vec2Audio:
    """Mean over time of the last hidden states: [N, samples] at 16 kHz -> [N, dim].

    Every window is brought to zero mean and unit variance, as the model's own feature extractor does it: a layer norm
    over samples with epsilon 1e-7. Windows shorter than 25 ms are padded with silence.
    """

    def __init__(self, network: nn.Module, dim: int, identity: str, device: torch.device, batch: int) -> None:
        self.identity, self.dim = identity, dim
        self._device, self._batch = device, batch
        self._network = network.eval().to(device)

    def encode(self, windows_NS: NDArray[np.float32]) -> Vectors:
        """Map [N, samples] float32 in [-1, 1] to [N, dim]."""
        return encode_batches(windows_NS, self._batch, self.dim, self._encode)

    def _encode(self, windows_BS: NDArray[np.float32]) -> Tensor:
        x_BS = torch.from_numpy(windows_BS.copy(order="C")).float().to(self._device)
        x_BS = F.layer_norm(x_BS, x_BS.shape[1:], eps=1e-7)
        x_BS = F.pad(x_BS, (0, max(0, RECEPTIVE_FIELD - x_BS.shape[1])))
        hidden_BTD: Tensor = self._network(x_BS).last_hidden_state
        return hidden_BTD.mean(dim=1)


def load_wav2vec2(folder: Path | None, identity: str, device: torch.device, batch: int) -> Wav2Vec2Audio:
    """Wav2Vec2, 768-d for the base model. Without a folder: random parameters and one layer of the base width."""
    config = Wav2Vec2Config(num_hidden_layers=1) if folder is None else Wav2Vec2Config.from_pretrained(folder)
    network = Wav2Vec2Model(config)
    if folder is not None:
        state = read_state(folder / WAV2VEC2_BASE.files[0].name)
        load_backbone(network, state, "wav2vec2.", PRETRAINING_HEADS)
    return Wav2Vec2Audio(network, config.hidden_size, identity, device, batch)
