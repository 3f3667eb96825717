"""The encoder key: the networks and the sampling that produced a vector. Rows of different keys never mix."""

import hashlib
import json
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from rayreel.encoders.registry import Modality
from rayreel.media.config import SamplingConfig

if TYPE_CHECKING:
    from rayreel.encoders.load import Encoders  # imports torch, which decode tasks do not need


class EncoderKey(BaseModel):
    """Everything that decides what a feature vector means."""

    model_config = ConfigDict(frozen=True)

    identities: dict[Modality, str]
    dims: dict[Modality, int]
    frame_size: int
    sampling: SamplingConfig

    def __str__(self) -> str:
        """The store's folder name."""
        return key_name(self.identities, self.sampling)

    @staticmethod
    def of(encoders: "Encoders", sampling: SamplingConfig) -> "EncoderKey":
        """Return the key of these encoders with this sampling."""
        return EncoderKey(
            identities=encoders.identities,
            dims=encoders.dims,
            frame_size=encoders.visual.frame_size,
            sampling=sampling,
        )

    @property
    def is_random(self) -> bool:
        """Whether any network has random weights: for tests only, rejected by promotion."""
        return any("@random" in identity for identity in self.identities.values())


def key_name(identities: dict[Modality, str], sampling: SamplingConfig) -> str:
    """Return the store's folder name: the encoders' names and a digest of everything that changes a vector."""
    content = {"identities": dict(identities), "sampling": sampling.facts()}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    names = "+".join(identities[modality].split("@")[0].split("+")[0] for modality in Modality)
    return f"{names}-{digest}"
