"""Save and load a tower: weights as safetensors, everything else as JSON."""

import json
from pathlib import Path

from safetensors.torch import load_model, save_model

from rayreel.encoders.encoder import Modality
from rayreel.tower.config import TowerConfig
from rayreel.tower.tower import VideoTower

WEIGHTS, CONFIG = "tower.safetensors", "tower.json"


def save_tower(tower: VideoTower, folder: Path) -> None:
    """Write the tower into an existing folder."""
    save_model(tower, str(folder / WEIGHTS))
    content = {"config": tower.config.model_dump(), "dims": tower.dims}
    (folder / CONFIG).write_text(json.dumps(content, indent=2))


def load_tower(folder: Path) -> VideoTower:
    """Load a tower written by `save_tower`, on the CPU and in evaluation mode."""
    content = json.loads((folder / CONFIG).read_text())
    dims = {Modality(name): dim for name, dim in content["dims"].items()}
    tower = VideoTower(TowerConfig.model_validate(content["config"]), dims)
    load_model(tower, str(folder / WEIGHTS))
    return tower.eval()
