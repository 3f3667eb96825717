"""Encoders trained by the user: folders below the storage root with a network and its configuration."""

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rayreel.errors import RayreelError

if TYPE_CHECKING:
    from rayreel.storage import Storage  # imports pyarrow, and settings import this module

FOLDER, CONFIG, WEIGHTS = "encoders", "config.json", "model.safetensors"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# Part of the identity: change it whenever a code change before or after the network changes the vectors.
_PREPROCESSING = "kinetics-pooled"
MAX_FRAMES = 64  # decoding returns at most this many per window
GROUPS = 8  # groups of channels normalised together


class R2Plus1DConfig(BaseModel):
    """Input and widths of an R(2+1)D network to train. The defaults can be trained on a CPU."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: int = Field(10, ge=2, le=MAX_FRAMES, description="frames per vector")
    stride: int = Field(2, ge=1, le=32, description="take every n-th of the consecutive frames")
    size: int = Field(64, ge=16, le=512, description="side of a frame, pixels")
    channels: tuple[int, ...] = Field(
        (16, 32, 64, 128),
        min_length=1,
        description="width of each stage, multiples of 8; the last is the vector's",
    )

    @property
    def window(self) -> int:
        """Consecutive frames that one vector covers: frames * stride."""
        return self.frames * self.stride

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        if self.window > MAX_FRAMES:
            raise ValueError(f"frames * stride is {self.window}, at most {MAX_FRAMES} allowed: lower one of them")
        if any(width <= 0 or width % GROUPS for width in self.channels):
            raise ValueError(f"channels must be multiples of {GROUPS}, such as [16, 32, 64, 128]")
        return self


class UnknownEncoder(RayreelError):
    """There is no encoder of this name for the modality."""


class TrainedFacts(BaseModel):
    """Description of a trained encoder, readable without building it: the content of its config.json."""

    model_config = ConfigDict(frozen=True)

    name: str
    arch: str = "r2plus1d"
    network: R2Plus1DConfig
    classes: tuple[str, ...]
    sha256: str

    @property
    def identity(self) -> str:
        """Name, weights and preprocessing; differs between training runs."""
        sampling = f"{self.network.frames}x{self.network.stride}x{self.network.size}"
        return f"{self.name}@{self.sha256[:12]}+{sampling}-{_PREPROCESSING}"


@dataclass(frozen=True, slots=True)
class TrainedPlace:
    """Location of a trained encoder."""

    storage: "Storage"
    folder: str

    def read(self, file: str) -> bytes | None:
        """Return a file of the encoder, or None if there is none."""
        return self.storage.read(f"{self.folder}/{file}")


def place_of(reference: str, root: str | None) -> TrainedPlace | None:
    """Return the place of a name below a storage root, or of a folder (a path or URI with a slash); else None."""
    from rayreel.storage import Storage

    if "/" in reference:
        storage = Storage(reference)
        return TrainedPlace(storage, storage.path().rstrip("/"))
    if root is None or not NAME.fullmatch(reference):
        return None
    storage = Storage(root)
    return TrainedPlace(storage, storage.path(FOLDER, reference))


def trained_names(root: str | None) -> list[str]:
    """Return the names of the trained encoders below a storage root."""
    if root is None:
        return []
    from rayreel.storage import Storage

    storage = Storage(root)
    return storage.folders(storage.path(FOLDER))


def read_facts(reference: str, root: str | None) -> TrainedFacts | None:
    """Return a trained encoder's description, or None if there is no such encoder. Raises RayreelError if damaged."""
    place = place_of(reference, root)
    text = None if place is None else place.read(CONFIG)
    if text is None:
        return None
    try:
        return TrainedFacts.model_validate_json(text)
    except ValidationError as error:
        raise _damaged(reference, f"{CONFIG} is invalid: {error.errors()[0]['msg']}") from None


def read_weights(reference: str, root: str | None) -> tuple[TrainedFacts, bytes]:
    """Return the description and the safetensors file, checked by its sha256. Raises RayreelError."""
    place, facts = place_of(reference, root), read_facts(reference, root)
    if place is None or facts is None:
        raise UnknownEncoder(f"No encoder {reference!r} below {root}. Train it with `rayreel train-action`.")
    weights = place.read(WEIGHTS)
    if weights is None or hashlib.sha256(weights).hexdigest() != facts.sha256:
        raise _damaged(
            reference, f"{WEIGHTS} {'is missing' if weights is None else f'does not have sha256 {facts.sha256}'}"
        )
    return facts, weights


def write_trained(root: "Storage", facts: TrainedFacts, weights: bytes) -> str:
    """Write a trained encoder below the storage root and return its folder. The config, written last, publishes it."""
    folder = root.path(FOLDER, facts.name)
    root.write(f"{folder}/{WEIGHTS}", weights)
    root.write(f"{folder}/{CONFIG}", facts.model_dump_json(indent=2).encode())
    return folder


def _damaged(reference: str, problem: str) -> RayreelError:
    return RayreelError(f"Encoder {reference!r} is damaged: {problem}. Restore the file, or train the encoder again.")
