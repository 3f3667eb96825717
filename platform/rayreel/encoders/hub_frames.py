"""Frame encoders from transformers checkpoints: CLIP, SigLIP, DINOv2 and other image networks, and video networks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from rayreel.encoders.checkpoint import LOCAL, load_pretrained
from rayreel.encoders.compute import Compute
from rayreel.encoders.hub_files import window_of
from rayreel.encoders.pictures import PictureEncoder, example_frames
from rayreel.encoders.runtime import start_checked
from rayreel.errors import RayreelError

TOLERANCE = 1e-3  # of normalised pixels


class Pixels(nn.Module):
    """The pixels of a checkpoint's own processor, from frames that are decoded at its size: crop, scale and shift.

    Maps [B, size, size, 3] uint8 RGB, or [B, T, size, size, 3], to [B, 3, crop, crop] or [B, T, 3, crop, crop].
    """

    mean_C11: Tensor
    std_C11: Tensor

    def __init__(self, size: int, crop: int, mean: Sequence[float], std: Sequence[float], scale: float) -> None:
        super().__init__()
        self.size, self.crop = size, crop
        self.register_buffer("mean_C11", (torch.tensor(mean) / scale).view(3, 1, 1))
        self.register_buffer("std_C11", (torch.tensor(std) / scale).view(3, 1, 1))

    @classmethod
    def of(cls, processor: Any) -> Self:  # noqa: ANN401 - an image or a video processor
        """Return those of a processor of transformers."""
        size = _side(processor.size) if processor.do_resize else _side(processor.crop_size)
        # Some processors, such as those of videos, have a crop size that they do not use.
        crop = _side(processor.crop_size) if processor.do_center_crop else size
        scale = processor.rescale_factor if processor.do_rescale else 1.0
        mean, std = (processor.image_mean, processor.image_std) if processor.do_normalize else ([0.0] * 3, [1.0] * 3)
        return cls(size, crop, mean, std, scale)

    def forward(self, frames: Tensor) -> Tensor:
        """Crop, scale and shift."""
        first = (self.size - self.crop) // 2
        cut = frames[..., first : first + self.crop, first : first + self.crop, :].movedim(-1, -3)
        return (cut.float() - self.mean_C11) / self.std_C11


class FrameCheckpoint(nn.Module):
    """A pre-trained network on raw frames, or on windows of them: uint8 RGB -> [B, dim].

    The vector is the projection into the space shared with texts where there is one (CLIP, SigLIP), else the network's
    own pooled state, else the state of its class token, else the mean over its states.
    """

    def __init__(self, pixels: Pixels, network: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.pixels, self.network = pixels, network

    def forward(self, frames: Tensor) -> Tensor:
        """Map frames to pooled features."""
        x, network = self.pixels(frames), self.network
        if hasattr(network, "get_image_features"):
            return network.get_image_features(x).pooler_output.flatten(1)  # type: ignore[no-any-return]
        if hasattr(network, "get_vision_features"):  # V-JEPA 2, without its predictor
            return network.get_vision_features(x).mean(dim=1)  # type: ignore[no-any-return]
        output = network(x)
        pooled = getattr(output, "pooler_output", None)
        if pooled is not None:
            return pooled.flatten(1)  # type: ignore[no-any-return]
        states_BTD: Tensor = output.last_hidden_state
        return states_BTD[:, 0] if _has_class_token(network) else states_BTD.mean(dim=1)


def load_frames(folder: Path, identity: str, compute: Compute) -> PictureEncoder:
    """Load a checkpoint. Its own configuration decides on size, crop, colours and pooling. Raises RayreelError."""
    window, network = window_of(folder), _vision_part(load_pretrained(folder))
    pixels = _pixels(folder, window)
    probes = [(random_frames(pixels.size, window),)]
    runtime, dim = start_checked(FrameCheckpoint(pixels, network), probes, compute, any_length=False)
    return PictureEncoder(runtime, size=pixels.size, dim=dim, identity=identity, frames=window)


def _vision_part(network: Any) -> Any:  # noqa: ANN401
    """Drop the parts of a network that frames do not need."""
    for name in ("text_model", "text_projection", "predictor"):
        if getattr(network, name, None) is not None:
            setattr(network, name, None)
    return network


def _pixels(folder: Path, window: int) -> Pixels:
    """Return the pixels' arithmetic, checked against the processor on a random frame. Raises RayreelError."""
    from transformers import AutoImageProcessor, AutoVideoProcessor

    try:
        kind = AutoImageProcessor if window == 1 else _video_processor(folder, AutoVideoProcessor, AutoImageProcessor)
        processor = kind.from_pretrained(folder, **LOCAL)
        pixels = Pixels.of(processor)
        frames = random_frames(pixels.size, window)
        theirs = processor(list(frames[0].numpy()) if window > 1 else frames[0].numpy(), return_tensors="pt")
        check_pixels(pixels, frames.flatten(0, -4), next(iter(theirs.values())).flatten(0, -4))
    except (ImportError, OSError, ValueError, TypeError, AttributeError, KeyError, RuntimeError) as error:
        raise RayreelError(f"The image processor of {folder} is not supported: {error}") from error
    return pixels


def random_frames(size: int, frames: int = 1) -> Tensor:
    """Return noise shaped like the input of a frame network."""
    shape = example_frames(size, frames).shape
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def check_pixels(pixels: Pixels, frames: Tensor, theirs: Tensor) -> None:
    """Raise ValueError if the pixels of frames are not those of the checkpoint's own processor."""
    difference = (pixels(frames) - theirs).abs().max()
    if difference > TOLERANCE:
        raise ValueError(f"it does not only resize, crop, scale and shift (pixels differ by {difference:.3f})")


def _video_processor(folder: Path, video: Any, image: Any) -> Any:  # noqa: ANN401
    """Return the checkpoint's processor. Old video checkpoints have one for images."""
    return video if (folder / "video_preprocessor_config.json").is_file() else image


def _side(size: Any) -> int:  # noqa: ANN401 - transformers' SizeDict
    """Return the side of a square, in pixels. Raises ValueError for other sizes."""
    sides = {size.shortest_edge} if size.shortest_edge else {size.height, size.width}
    if len(sides) != 1 or None in sides:
        raise ValueError(f"frames are square, but the checkpoint expects {size}")
    return int(sides.pop())


def _has_class_token(network: nn.Module) -> bool:
    return any(name.endswith(("cls_token", "class_embedding")) for name, _ in network.named_parameters())
