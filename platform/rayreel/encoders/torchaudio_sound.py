"""Audio encoders from torchaudio's bundles of weights: Wav2Vec2, HuBERT and WavLM."""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from rayreel.encoders.compute import Compute
from rayreel.encoders.hub_sound import SoundEncoder, long_enough
from rayreel.encoders.runtime import Inputs, start_checked
from rayreel.encoders.weights import TORCHAUDIO_BUNDLES
from rayreel.errors import RayreelError
from rayreel.media.config import AUDIO_RATE_HZ


class BundleNetwork(nn.Module):
    """A bundle's network with the mean over time of its last layer: [B, samples] -> [B, dim].

    Bundles that normalise the waveform do so over all windows of a batch together. Here each window is normalised
    alone, so that its vector does not depend on its neighbours.
    """

    def __init__(self, model: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.normalize = bool(getattr(model, "normalize_waveform", False))
        self.network = model.model if self.normalize else model

    def forward(self, windows_BS: Tensor) -> Tensor:
        """Map windows to the mean of their features."""
        x_BS = F.layer_norm(windows_BS, windows_BS.shape[1:]) if self.normalize else windows_BS
        layers, _ = self.network.extract_features(x_BS)
        mean_BD: Tensor = layers[-1].mean(dim=1)
        return mean_BD


def load_bundle(folder: Path | None, identity: str, compute: Compute, name: str) -> SoundEncoder:
    """Load the bundle that torchaudio.pipelines calls `name`. Raises RayreelError."""
    if folder is None:
        raise RayreelError(f"encoders.random_weights is not available for torchaudio:{name}.")
    network = BundleNetwork(_read(folder, name))
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * AUDIO_RATE_HZ).astype(np.float32)
    probes = [tuple(map(torch.from_numpy, _waveform(noise[: s * AUDIO_RATE_HZ]))) for s in (2, 3)]
    runtime, dim = start_checked(network, probes, compute, any_length=True)
    return SoundEncoder(runtime, _waveform, dim, identity)


def _read(folder: Path, name: str) -> Any:  # noqa: ANN401
    """Build the network with torchaudio's own code, from the file in `folder`."""
    file = TORCHAUDIO_BUNDLES[name].files[0].name
    local = {"model_dir": str(folder), "file_name": file, "map_location": "cpu", "weights_only": True}
    try:
        return getattr(torchaudio.pipelines, name).get_model(dl_kwargs=local)
    except (OSError, EOFError, RuntimeError, UnpicklingError, KeyError, AttributeError, TypeError) as error:
        raise RayreelError(f"{folder / file} does not have the parameters of torchaudio:{name}: {error}") from error


def _waveform(window_S: NDArray[np.float32]) -> Inputs:
    return (long_enough(window_S)[None],)
