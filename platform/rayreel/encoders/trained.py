"""Encoders of one's own training: a folder with a network and what it looks at, below the storage root."""

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
# Part of the identity: change it whenever a change of code before or after the network changes the vectors.
_PREPROCESSING = "kinetics-pooled"
MOST_FRAMES = 64  # what decoding gives at most in one window
GROUPS = 8  # of channels that are normalised together


class R2Plus1DConfig(BaseModel):
    """What an R(2+1)D network of our own looks at, and how wide it is. The defaults train on a CPU."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: int = Field(10, ge=2, le=MOST_FRAMES, description="frames that give one vector")
    stride: int = Field(2, ge=1, le=32, description="every so many-th of the consecutive frames is taken")
    size: int = Field(64, ge=16, le=512, description="side of a frame, pixels")
    channels: tuple[int, ...] = Field(
        (16, 32, 64, 128), min_length=1, description="width of each stage, multiples of 8; the last is the vector's"
    )

    @property
    def window(self) -> int:
        """Consecutive frames from the first one taken to the end of the last one's stride."""
        return self.frames * self.stride

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        if self.window > MOST_FRAMES:
            raise ValueError(f"frames * stride is {self.window}, at most {MOST_FRAMES}: lower one of them")
        if any(width <= 0 or width % GROUPS for width in self.channels):
            raise ValueError(f"channels are multiples of {GROUPS}, such as [16, 32, 64, 128]")
        return self


class UnknownEncoder(RayreelError):
    """A modality is given an encoder that does not exist for it."""


class TrainedFacts(BaseModel):
    """What is known of a trained encoder without building it: the content of its config.json."""

    model_config = ConfigDict(frozen=True)

    name: str
    arch: str = "r2plus1d"
    network: R2Plus1DConfig
    classes: tuple[str, ...]
    sha256: str

    @property
    def identity(self) -> str:
        """Name, weights and preprocessing; another training has another one."""
        looks_at = f"{self.network.frames}x{self.network.stride}x{self.network.size}"
        return f"{self.name}@{self.sha256[:12]}+{looks_at}-{_PREPROCESSING}"


@dataclass(frozen=True, slots=True)
class TrainedPlace:
    """Where a trained encoder lies."""

    storage: "Storage"
    folder: str

    def read(self, file: str) -> bytes | None:
        """A file of it, None where there is none."""
        return self.storage.read(f"{self.folder}/{file}")


def place_of(reference: str, root: str | None) -> TrainedPlace | None:
    """The place of a name below a storage root, or of a folder (a path or URI with a slash); None for neither."""
    from rayreel.storage import Storage

    if "/" in reference:
        storage = Storage(reference)
        return TrainedPlace(storage, storage.path().rstrip("/"))
    if root is None or not NAME.fullmatch(reference):
        return None
    storage = Storage(root)
    return TrainedPlace(storage, storage.path(FOLDER, reference))


def trained_names(root: str | None) -> list[str]:
    """Names of the encoders trained below a storage root."""
    if root is None:
        return []
    from rayreel.storage import Storage

    storage = Storage(root)
    return storage.folders(storage.path(FOLDER))


def read_facts(reference: str, root: str | None) -> TrainedFacts | None:
    """What is known of a trained encoder; None where there is none. Raises RayreelError for one that is damaged."""
    place = place_of(reference, root)
    text = None if place is None else place.read(CONFIG)
    if text is None:
        return None
    try:
        return TrainedFacts.model_validate_json(text)
    except ValidationError as error:
        raise _damaged(reference, f"its {CONFIG} cannot be read: {error.errors()[0]['msg']}") from None


def read_weights(reference: str, root: str | None) -> tuple[TrainedFacts, bytes]:
    """Facts and the safetensors file; its sha256 decides whether it is the one. Raises RayreelError."""
    place, facts = place_of(reference, root), read_facts(reference, root)
    if place is None or facts is None:
        raise UnknownEncoder(f"{reference!r}: no such encoder below {root}. Train it with jobs/train_action.py.")
    weights = place.read(WEIGHTS)
    if weights is None or hashlib.sha256(weights).hexdigest() != facts.sha256:
        raise _damaged(reference, f"its {WEIGHTS} {'is gone' if weights is None else f'is not {facts.sha256}'}")
    return facts, weights


def write_trained(root: "Storage", facts: TrainedFacts, weights: bytes) -> str:
    """Put a trained encoder below the storage root, the config last: with it, it is there. Returns its folder."""
    folder = root.path(FOLDER, facts.name)
    root.write(f"{folder}/{WEIGHTS}", weights)
    root.write(f"{folder}/{CONFIG}", facts.model_dump_json(indent=2).encode())
    return folder


def _damaged(reference: str, how: str) -> RayreelError:
    return RayreelError(f"Encoder {reference!r} is damaged: {how}. Put the file back, or train it anew.")
