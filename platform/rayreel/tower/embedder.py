"""The interface of everything that a release can embed with: one subclass for each kind of release."""

from abc import ABC, abstractmethod
from collections.abc import Collection
from itertools import chain
from typing import ClassVar

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from rayreel.encoders.encoder import Modality
from rayreel.tower.batch import FeatureBatch


class Embedder(nn.Module, ABC):
    """Maps the features of a video, or of any part of it, to one unit embedding; inner products are similarities.

    Evaluation, gates, index and service use only what is declared here. `kind` names the class in a saved folder and
    in the registry; `dims` is the feature dimension of each modality. A subclass is built from `config` and `dims`
    alone, and keeps everything else that it needs as parameters or buffers. `rayreel.tower.save` lists the kinds.
    """

    kind: ClassVar[str]
    config: BaseModel
    dims: dict[Modality, int]

    @property
    @abstractmethod
    def dim(self) -> int:
        """Length of an embedding."""

    @property
    @abstractmethod
    def modalities(self) -> Collection[Modality]:
        """The modalities that it reads, at least one."""

    @abstractmethod
    def forward(self, batch: FeatureBatch) -> Tensor:
        """Return z_BD of unit length; zero for a video without any modality that this embedder reads."""

    @property
    def device(self) -> torch.device:
        """The device of its parameters and buffers."""
        return next(chain(self.parameters(), self.buffers()), torch.empty(0)).device
