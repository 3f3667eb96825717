"""The interface of everything that a release can embed with: one subclass for each kind of release."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from copy import copy
from itertools import chain
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from torch import Tensor, nn

from rayreel.encoders.encoder import Modality
from rayreel.tower.batch import FeatureBatch
from rayreel.tower.config import Smoothing
from rayreel.tower.user import UserTower


class Embedder(nn.Module, ABC):
    """Maps the features of a video, or of any part of it, to one unit embedding; inner products are similarities.

    Evaluation, gates, index and service use only what is declared here. `kind` names the class in a saved folder and
    in the registry; `dims` is the feature dimension of each modality. A subclass is built from `config` and `dims`
    alone, and keeps everything else that it needs as parameters or buffers. `rayreel.tower.save` lists the kinds.
    `smoothing` says how a release averages the vectors of its index; `forward` does not. `users`: the user tower that
    was trained with the vectors of that index, if it is better than the mean of a history.
    """

    kind: ClassVar[str]
    config: BaseModel
    dims: dict[Modality, int]
    smoothing: Smoothing = Smoothing()
    users: UserTower | None = None

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

    def without_averaging(self) -> Self:
        """Return the same embedder for an index whose vectors are not averaged; both share their parameters."""
        own = copy(self)
        own.smoothing = Smoothing()
        return own

    def gap(self, modality: Modality) -> Tensor | None:
        """Return the mean of words minus the mean of the vectors, [D], in the space of a modality; None if unknown."""
        return None

    def centred(self, words: Mapping[Modality, NDArray[np.float32]]) -> dict[Modality, NDArray[np.float32]]:
        """Move a query in words, [n, D] per modality, to where the vectors of videos lie."""
        gaps = {modality: self.gap(modality) for modality in words}
        return {m: x if (gap := gaps[m]) is None else x - gap.cpu().numpy() for m, x in words.items()}

    @property
    def device(self) -> torch.device:
        """The device of its parameters and buffers."""
        return next(chain(self.parameters(), self.buffers()), torch.empty(0)).device
