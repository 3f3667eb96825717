"""Save and load what embeds, of any kind: weights as safetensors, everything else as JSON."""

import json
from pathlib import Path

from pydantic import BaseModel
from safetensors.torch import load_model, save_model

from rayreel.encoders.encoder import Modality
from rayreel.tower.config import FrozenConfig, ProbeConfig, Smoothing, TowerConfig
from rayreel.tower.embedder import Embedder
from rayreel.tower.frozen import FrozenFeatures
from rayreel.tower.probe import ProbedFeatures
from rayreel.tower.tower import VideoTower
from rayreel.tower.user import UserTower

WEIGHTS, CONFIG = "tower.safetensors", "tower.json"
USERS = "user_tower.safetensors"
KINDS: dict[str, tuple[type[Embedder], type[BaseModel]]] = {
    VideoTower.kind: (VideoTower, TowerConfig),
    FrozenFeatures.kind: (FrozenFeatures, FrozenConfig),
    ProbedFeatures.kind: (ProbedFeatures, ProbeConfig),
}
"""The class of each kind of release and that of its configuration."""


def save_tower(tower: Embedder, folder: Path) -> None:
    """Write the tower, and its user tower if it has one, into an empty folder."""
    save_model(tower, str(folder / WEIGHTS))
    content = {"kind": tower.kind, "config": tower.config.model_dump(), "dims": tower.dims}
    content["smoothing"] = tower.smoothing.model_dump()
    (folder / CONFIG).write_text(json.dumps(content, indent=2))
    if tower.users is not None:
        (folder / USERS).write_bytes(tower.users.to_bytes())


def load_tower(folder: Path) -> Embedder:
    """Load a tower written by `save_tower`, on the CPU and in evaluation mode. Raises NotAUserTower."""
    content = json.loads((folder / CONFIG).read_text())
    # Folders written before there were kinds hold trained towers.
    embedder, config = KINDS[content.get("kind", VideoTower.kind)]
    dims = {Modality(name): dim for name, dim in content["dims"].items()}
    tower = embedder(config.model_validate(content["config"]), dims)
    load_model(tower, str(folder / WEIGHTS))
    tower.smoothing = Smoothing.model_validate(content.get("smoothing", {}))
    if (folder / USERS).exists():
        tower.users = UserTower.from_bytes((folder / USERS).read_bytes())
    return tower.eval()
