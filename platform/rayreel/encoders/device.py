"""The device that an encoder runs on."""

import torch

from rayreel.errors import RayreelError


def best_device() -> torch.device:
    """Return the fastest device of this machine: CUDA, then Apple's MPS, then the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def device_named(name: str) -> torch.device:
    """Return the device for a configured name; `auto` is the best one. Raises RayreelError if it is not available."""
    if name == "auto":
        return best_device()
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise RayreelError(f"device {name}: no usable CUDA device on this machine. Choose auto or cpu.")
    return torch.device(name)
