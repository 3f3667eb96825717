"""Frame and text encoders from open_clip's checkpoints: CLIP, SigLIP, PE-Core and their relatives."""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torchvision.transforms.functional import to_pil_image

from rayreel.encoders.checkpoint import LOCAL
from rayreel.encoders.compute import Compute
from rayreel.encoders.hub_frames import Pixels, check_pixels, random_frames
from rayreel.encoders.open_clip_names import library
from rayreel.encoders.pictures import PictureEncoder
from rayreel.encoders.registry import OPEN_CLIP_CONFIG, read_json
from rayreel.encoders.runtime import start_checked
from rayreel.encoders.text import TokenEncoder
from rayreel.errors import RayreelError

UNREADABLE = (OSError, UnpicklingError, SafetensorError)
FAILURES = (*UNREADABLE, ImportError, ValueError, TypeError, AttributeError, KeyError, RuntimeError, AssertionError)
TEXT_PARTS = ("text", "text_decoder", "transformer", "token_embedding", "ln_final")


class OpenClipFrames(nn.Module):
    """The picture side of a network on raw frames: [B, size, size, 3] uint8 RGB -> [B, dim]."""

    def __init__(self, pixels: Pixels, network: Any) -> None:  # noqa: ANN401
        super().__init__()
        for part in TEXT_PARTS:
            if hasattr(network, part):
                setattr(network, part, None)
        self.pixels, self.network = pixels, network

    def forward(self, frames_BHWC: Tensor) -> Tensor:
        """Map frames to projected features."""
        features_BD: Tensor = self.network.encode_image(self.pixels(frames_BHWC))
        return features_BD


class OpenClipWords(nn.Module):
    """The text side of a network: [B, T] token ids, all T that it takes, -> [B, dim]."""

    def __init__(self, network: Any) -> None:  # noqa: ANN401
        super().__init__()
        network.visual = None
        self.network = network

    def forward(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """Map token ids to projected features. The network knows padding by its id."""
        del mask_BT
        features_BD: Tensor = self.network.encode_text(ids_BT)
        return features_BD


def load_open_clip_frames(folder: Path, identity: str, compute: Compute) -> PictureEncoder:
    """Load the picture side. The checkpoint's configuration decides on size and colours. Raises RayreelError."""
    try:
        network, pixels = _read(folder)
        probes = [(random_frames(pixels.size),)]
        runtime, dim = start_checked(OpenClipFrames(pixels, network), probes, compute, any_length=False)
    except FAILURES as error:
        raise RayreelError(f"{folder} cannot be used as a frame encoder: {error}") from error
    return PictureEncoder(runtime, size=pixels.size, dim=dim, identity=identity)


def load_open_clip_text(folder: Path, identity: str, compute: Compute) -> TokenEncoder:
    """Load the text side with its own tokenizer, which pads every text to the same length. Raises RayreelError."""
    try:
        network, _ = _read(folder)
        tokenizer = _tokenizer(folder)
        ids_BT = tokenizer(["a dog runs", "two dogs run after one another in the snow"])
        probes = [(row_T[None], torch.ones_like(row_T[None])) for row_T in ids_BT]
        runtime, dim = start_checked(OpenClipWords(network), probes, compute, any_length=False)
    except FAILURES as error:
        raise RayreelError(f"{folder} cannot be used as a text encoder: {error}") from error
    longest = ids_BT.shape[1]
    return TokenEncoder(runtime, lambda texts: tokenizer(texts).tolist(), dim=dim, identity=identity, longest=longest)


def _read(folder: Path) -> tuple[Any, Pixels]:
    """Return the network and its pixels, checked against its own preprocessing. Raises ValueError."""
    open_clip = library()
    _check_parts(_model_config(folder))
    network, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    config = open_clip.get_model_preprocess_cfg(network)
    sides = {config["size"]} if isinstance(config["size"], int) else set(config["size"])
    if len(sides) != 1:
        raise ValueError(f"frames are square, but the checkpoint expects {config['size']}")
    if config["resize_mode"] == "longest":
        raise ValueError("frames are cropped or squeezed, but the checkpoint expects padding")
    size = sides.pop()
    pixels = Pixels(size, size, config["mean"], config["std"], 1 / 255)
    frame = random_frames(size)
    check_pixels(pixels, frame, preprocess(to_pil_image(frame[0].numpy()))[None])
    return network, pixels


def _model_config(folder: Path) -> Any:  # noqa: ANN401
    return read_json(folder / OPEN_CLIP_CONFIG)["model_cfg"]


def _check_parts(config: dict[str, Any]) -> None:
    """Raise ValueError for a network whose parts are described elsewhere: open_clip would download them."""
    text, vision = config["text_cfg"].get("hf_model_name"), config["vision_cfg"].get("timm_model_name") or ""
    if text:
        raise ValueError(f"its text side is {text} of the Hugging Face hub, which is not in the folder")
    if ":" in vision:
        raise ValueError(f"its picture side is {vision}, which is not in the folder")


def _tokenizer(folder: Path) -> Any:  # noqa: ANN401
    local = LOCAL if _model_config(folder)["text_cfg"].get("hf_tokenizer_name") else {}
    return library().get_tokenizer(f"local-dir:{folder}", **local)
