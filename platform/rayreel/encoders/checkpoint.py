"""Read network parameters from a file without running code from it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from rayreel.errors import RayreelError

# Of every call that reads a checkpoint: it may neither download files nor run code, nor ask whether it may.
LOCAL = {"local_files_only": True, "trust_remote_code": False}
# Parameters that only pre-training uses; checkpoints may leave them out.
_UNUSED = ("masked_spec_embed", "mask_token")


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


def load_pretrained(folder: Path) -> Any:  # noqa: ANN401 - a network of any architecture
    """Load the bare network of a transformers checkpoint in fp32, without running code from it.

    A network without trained pooler loses it. Raises RayreelError if another parameter is missing, which transformers
    would initialise at random, or if the architecture is unknown.
    """
    try:
        network, report = _from_pretrained(folder)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise RayreelError(f"{folder} cannot be loaded: {error}") from error
    missing = [name for name in report["missing_keys"] if not name.endswith(_UNUSED)]
    if missing and all(name.startswith("pooler.") for name in missing):
        network.pooler = None
    elif missing:
        raise RayreelError(f"{folder} is not complete: it has no parameter {sorted(missing)[0]}")
    return network


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out the report of transformers, which advises to train the parameters that are dropped here."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _from_pretrained(folder: Path) -> Any:  # noqa: ANN401
    from transformers import AutoModel  # takes seconds

    with quiet():
        network, report = AutoModel.from_pretrained(folder, **LOCAL, dtype=torch.float32, output_loading_info=True)
    network.config.use_cache = False  # one pass per text needs no cache, and OpenVINO cannot convert it
    return network, report
