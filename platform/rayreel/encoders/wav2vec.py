"""Encode waveform windows with Wav2Vec2 (Baevski et al. 2020)."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Wav2Vec2Config, Wav2Vec2Model

from rayreel.encoders.checkpoint import load_backbone, read_state
from rayreel.encoders.compute import Compute
from rayreel.encoders.encoder import Vectors
from rayreel.encoders.runtime import encode_rows, start
from rayreel.encoders.weights import WAV2VEC2_BASE

RECEPTIVE_FIELD = 400  # samples that the convolutional front end needs for one output step
PRETRAINING_HEADS = ("quantizer.", "project_q.", "project_hid.", "dropout_features.")


class Wav2Vec2Network(nn.Module):
    """Wav2Vec2 on raw waveforms with the mean over time of its last states: [B, samples] -> [B, dim]."""

    def __init__(self, backbone: Wav2Vec2Model) -> None:
        super().__init__()
        backbone.loss_function = None  # tracing reads it, and transformers would warn that a backbone has none
        self.backbone = backbone

    def forward(self, windows_BS: Tensor) -> Tensor:
        """Map windows to the mean of their states."""
        hidden_BTD: Tensor = self.backbone(F.layer_norm(windows_BS, windows_BS.shape[1:], eps=1e-7)).last_hidden_state
        return hidden_BTD.mean(dim=1)


class Wav2Vec2Audio:
    """Mean over time of the last hidden states: [N, samples] at 16 kHz -> [N, dim].

    Every window is normalised to zero mean and unit variance, as the model's own feature extractor does: a layer norm
    over samples with epsilon 1e-7. Windows shorter than 25 ms are padded with silence.
    """

    def __init__(self, backbone: Wav2Vec2Model, identity: str, compute: Compute) -> None:
        self.identity, self.dim = identity, int(backbone.config.hidden_size)
        example = torch.zeros(1, 16_000)
        self._runtime = start(Wav2Vec2Network(backbone), (example,), compute, any_length=True)

    def encode(self, windows_NS: NDArray[np.float32]) -> Vectors:
        """Map [N, samples] float32 in [-1, 1] to [N, dim]."""
        missing = max(0, RECEPTIVE_FIELD - windows_NS.shape[1])
        return encode_rows(np.pad(windows_NS, ((0, 0), (0, missing))), self._runtime, self.dim)


def load_wav2vec2(folder: Path | None, identity: str, compute: Compute) -> Wav2Vec2Audio:
    """Load Wav2Vec2, 768-d for the base model. Without a folder: random parameters and one layer of the base width."""
    config = Wav2Vec2Config(num_hidden_layers=1) if folder is None else Wav2Vec2Config.from_pretrained(folder)
    backbone = Wav2Vec2Model(config)
    if folder is not None:
        state = read_state(folder / WAV2VEC2_BASE.files[0].name)
        load_backbone(backbone, state, "wav2vec2.", PRETRAINING_HEADS)
    return Wav2Vec2Audio(backbone, identity, compute)
