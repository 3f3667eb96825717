"""Read network parameters from a file without running code from it."""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict from safetensors, or from a pickle restricted to tensors."""
    if path.suffix == ".safetensors":
        return load_file(path)
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def load_backbone(network: nn.Module, state: dict[str, Tensor], prefix: str, heads: Sequence[str]) -> None:
    """Load a hub checkpoint into the bare backbone. Raises RuntimeError for missing or unexpected parameters.

    Checkpoints saved with a pre-training head have the backbone under `prefix` and the head's parameters under names
    that begin with one of `heads`; the latter are dropped. Old BERT files call the LayerNorm parameters gamma and beta.
    """
    bare = {
        key.removeprefix(prefix)
        .replace("LayerNorm.gamma", "LayerNorm.weight")
        .replace("LayerNorm.beta", "LayerNorm.bias"): value
        for key, value in state.items()
    }
    network.load_state_dict(
        {key: value for key, value in bare.items() if not key.startswith(tuple(heads))}, strict=True
    )
