"""A small encoder below a storage root, as if trained."""

import hashlib

import safetensors.torch
import torch

from rayreel.encoders.r2plus1d import R2Plus1D
from rayreel.encoders.trained import R2Plus1DConfig, TrainedFacts, write_trained
from rayreel.storage import Storage

SMALL = R2Plus1DConfig(frames=4, stride=2, size=16, channels=(8, 16))


def write_untrained(storage: Storage, name: str, seed: int = 0) -> TrainedFacts:
    """Write an encoder with its initial parameters."""
    torch.manual_seed(seed)
    content = safetensors.torch.save(R2Plus1D(SMALL).state_dict())
    facts = TrainedFacts(name=name, network=SMALL, classes=("a", "b"), sha256=hashlib.sha256(content).hexdigest())
    write_trained(storage, facts, content)
    return facts
