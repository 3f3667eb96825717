"""The user tower: a watch history becomes a vector in the space of a release's videos."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save

from rayreel.errors import RayreelError
from rayreel.tower.config import UserTowerConfig
from rayreel.tower.memory import WatchMemory
from rayreel.tower.user_history import HistoryBatch
from rayreel.tower.user_network import ItemTable, UserNetwork

_ABOUT, _MEMORY = "about", "memory"
# Names in towers that were saved when attention was the only reader.
_READ_BY = {name: f"reader.{name}" for name in ("log_half_life", "by_rank", "by_kind", "query.weight")}


class NotAUserTower(RayreelError):
    """The bytes are not those of a saved user tower."""


@dataclass(frozen=True, slots=True)
class WatchHistory:
    """H watched videos: their ids, unit embeddings [H, D], weights, and ages, seconds before the newest.

    Videos of weight 0 were watched and not liked.
    """

    ids: Sequence[str]
    vectors_HD: NDArray[np.float32]
    weights_H: NDArray[np.float64]
    ages_H: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class UserVector:
    """A user as a query: the score of a video is its embedding · content_D + what by_code_K adds for its code."""

    content_D: NDArray[np.float32]
    by_code_K: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class UserTower:
    """A trained network and the ids of the videos that were watched in its training, by their codes from 1.

    `memory`: what else people watched who watched these videos, if it was found to add anything.
    """

    network: UserNetwork
    codes: Mapping[str, int]
    memory: WatchMemory | None = None

    @classmethod
    def of(cls, config: UserTowerConfig, dim: int, ids: Sequence[str]) -> "UserTower":
        """Return an untrained tower for embeddings of this length and videos with these ids."""
        return cls(UserNetwork(config, dim, len(ids)), {name: code for code, name in enumerate(ids, 1)})

    @property
    def dim(self) -> int:
        """Length of the embeddings that it reads."""
        return self.network.dim

    @cached_property
    def residuals_KW(self) -> NDArray[np.float32]:
        """The residuals of all codes; zero for the code 0, that of a video without one."""
        with torch.inference_mode():
            found: NDArray[np.float32] = self.network.residuals(torch.arange(len(self.codes) + 1)).numpy()
        return found

    def codes_of(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Return the code of each video, 0 for one without."""
        return np.array([self.codes.get(name, 0) for name in ids], np.int64)

    def vector(self, history: WatchHistory) -> UserVector:
        """Return the vector of a user. Of videos of the same age, the first is the newest."""
        newest = np.argsort(history.ages_H, kind="stable")
        codes_H = self.codes_of(history.ids)
        items = ItemTable(torch.from_numpy(history.vectors_HD), torch.from_numpy(codes_H))
        batch = HistoryBatch(
            torch.from_numpy(newest[None]),
            torch.from_numpy(history.weights_H[newest][None].astype(np.float32)),
            torch.from_numpy(history.ages_H[newest][None].astype(np.float32)),
        )
        with torch.inference_mode():
            found = self.network(items, batch)
        by_code_K = self.residuals_KW @ found.residual_BW[0].numpy()
        if self.memory is not None:
            by_code_K += self.memory.scores(codes_H[newest][None])[0]
        return UserVector(found.content_BD[0].numpy(), by_code_K)

    def to_bytes(self) -> bytes:
        """Return the tower as safetensors."""
        about = {"config": self.network.config.model_dump(), "dim": self.dim, "ids": list(self.codes)}
        tensors = self.network.state_dict()
        if self.memory is not None:
            about |= {"decay": self.memory.decay, "weight": self.memory.weight}
            tensors[_MEMORY] = torch.from_numpy(self.memory.weights_KK)
        tensors[_ABOUT] = torch.frombuffer(bytearray(json.dumps(about).encode()), dtype=torch.uint8)
        content: bytes = save(tensors)
        return content

    @classmethod
    def from_bytes(cls, content: bytes) -> "UserTower":
        """Return a tower saved by `to_bytes`, on the CPU and in evaluation mode. Raises NotAUserTower."""
        try:
            tensors = load(content)
            about = json.loads(tensors.pop(_ABOUT).numpy().tobytes())
            remembered = tensors.pop(_MEMORY, None)
            tower = cls.of(UserTowerConfig.model_validate(about["config"]), about["dim"], about["ids"])
            tower.network.load_state_dict({_READ_BY.get(name, name): tensor for name, tensor in tensors.items()})
            if remembered is not None:
                memory = WatchMemory(remembered.numpy(), about["decay"], about["weight"])
                tower = replace(tower, memory=memory)
        except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
            raise NotAUserTower(
                f"{len(content):,} bytes are not a user tower: {error}. Train and promote again."
            ) from error
        tower.network.requires_grad_(requires_grad=False).eval()
        return tower
