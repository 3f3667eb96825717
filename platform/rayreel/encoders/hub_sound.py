"""Audio encoders from transformers checkpoints: CLAP, Wav2Vec2, HuBERT, WavLM, Whisper's encoder and AST."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchaudio.transforms import Resample

from rayreel.encoders.checkpoint import LOCAL, load_pretrained
from rayreel.encoders.compute import Compute
from rayreel.encoders.encoder import Vectors
from rayreel.encoders.runtime import Inputs, Runtime, encode_groups, start_checked
from rayreel.errors import RayreelError
from rayreel.media.config import AUDIO_RATE_HZ

RECEPTIVE_FIELD = 400  # samples that networks on waveforms need for one step


class SoundCheckpoint(nn.Module):
    """A pre-trained network on its extractor's output: [B, …] -> [B, dim].

    The vector is the projection into the space shared with texts where there is one (CLAP), else the network's own
    pooled state, else the mean over its states. `steps_BT` is 0 for those that a padded window has no sound for.
    """

    def __init__(self, network: Any) -> None:  # noqa: ANN401
        super().__init__()
        network.loss_function = None  # tracing reads it, and transformers would warn that a backbone has none
        self.network = network

    def forward(self, x: Tensor, steps_BT: Tensor | None = None) -> Tensor:
        """Map prepared windows to pooled features."""
        if hasattr(self.network, "get_audio_features"):
            longer_B1 = torch.zeros(x.shape[0], 1, dtype=torch.bool, device=x.device)
            return self.network.get_audio_features(x, longer_B1).pooler_output  # type: ignore[no-any-return]
        output = self.network(x)
        pooled = getattr(output, "pooler_output", None)
        if pooled is not None:
            return pooled  # type: ignore[no-any-return]
        states_BTD: Tensor = output.last_hidden_state
        if steps_BT is None:
            return states_BTD.mean(dim=1)
        return (states_BTD * steps_BT[:, :, None]).sum(dim=1) / steps_BT.sum(dim=1, keepdim=True)


class Extractor:
    """The checkpoint's own feature extractor for one window of sound at 16 kHz.

    `stride` is the steps of a padded spectrogram per state of the network (Whisper), None for other networks.
    """

    def __init__(self, extractor: Any, stride: int | None) -> None:  # noqa: ANN401
        self._extractor, self._stride, self._rate_hz = extractor, stride, int(extractor.sampling_rate)
        # The filter of scipy's resample_poly: ten zero crossings on each side, no roll-off.
        self._resample = Resample(AUDIO_RATE_HZ, self._rate_hz, "sinc_interp_kaiser", 10, rolloff=1.0, beta=5.0)
        self._longest = int(getattr(extractor, "nb_max_samples", 0)) or None

    def __call__(self, window_S: NDArray[np.float32]) -> Inputs:
        """Return the network's inputs, one row each.

        Sound above the extractor's longest is cut: some extractors would take a random part.
        """
        sound_S = self._resample(torch.from_numpy(long_enough(window_S))).numpy()
        given = self._extractor(sound_S[: self._longest], sampling_rate=self._rate_hz, return_tensors="np")
        x = np.asarray(given[self._extractor.model_input_names[0]], dtype=np.float32)
        if self._stride is None:
            return (x,)
        sounding = -(-len(sound_S) // (self._extractor.hop_length * self._stride))
        return x, (np.arange(x.shape[-1] // self._stride) < sounding).astype(np.float32)[None]


def long_enough(window_S: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a copy of a window, with silence added if it is too short for a network on waveforms."""
    return np.pad(window_S, (0, max(0, RECEPTIVE_FIELD - len(window_S))))


class SoundEncoder:
    """One vector per window: [N, samples] at 16 kHz -> [N, dim]."""

    def __init__(
        self, runtime: Runtime, extract: Callable[[NDArray[np.float32]], Inputs], dim: int, identity: str
    ) -> None:
        self.identity, self.dim, self._runtime, self._extract = identity, dim, runtime, extract

    def encode(self, windows_NS: NDArray[np.float32]) -> Vectors:
        """Map [N, samples] float32 in [-1, 1] to [N, dim]. Each window is prepared alone."""
        if not len(windows_NS):
            return np.empty((0, self.dim), dtype=np.float32)
        arrays = zip(*(self._extract(window_S) for window_S in windows_NS), strict=True)
        inputs = tuple(np.concatenate(rows) for rows in arrays)
        return encode_groups([(np.arange(len(windows_NS)), inputs)], self._runtime, len(windows_NS), self.dim)


def load_sound(folder: Path, identity: str, compute: Compute) -> SoundEncoder:
    """Load a checkpoint; its own extractor prepares the sound. Raises RayreelError."""
    from transformers import AutoFeatureExtractor

    network = _audio_part(load_pretrained(folder))
    try:
        own = AutoFeatureExtractor.from_pretrained(folder, **LOCAL)
        extract = Extractor(own, network.conv2.stride[0] if hasattr(network, "conv2") else None)
        noise = np.random.default_rng(0).normal(0, 0.1, 3 * AUDIO_RATE_HZ).astype(np.float32)
        probes = [tuple(map(torch.from_numpy, extract(noise[: s * AUDIO_RATE_HZ]))) for s in (2, 3)]
        is_waveform = probes[0][0].ndim == 2
        runtime, dim = start_checked(SoundCheckpoint(network), probes, compute, any_length=is_waveform)
    except (ImportError, OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise RayreelError(f"{folder} cannot be used as an audio encoder: {error}") from error
    return SoundEncoder(runtime, extract, dim, identity)


def _audio_part(network: Any) -> Any:  # noqa: ANN401
    """Return the encoder of an encoder and decoder; drop the text side of CLAP."""
    if hasattr(network, "get_audio_features"):
        network.text_model = network.text_projection = None
        return network
    return network.get_encoder() if getattr(network.config, "is_encoder_decoder", False) else network
