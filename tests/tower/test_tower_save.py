import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from feature_rows import DIMS, feature_matrix, feature_row
from rayreel.encoders.encoder import Modality
from rayreel.tower.config import TowerConfig
from rayreel.tower.embed import embed
from rayreel.tower.save import CONFIG, load_tower, save_tower
from rayreel.tower.tower import VideoTower

MATRIX = feature_matrix(feature_row("a"), feature_row("b", windows=0), feature_row("c", text=False))


def tower(seed: int = 0) -> VideoTower:
    torch.manual_seed(seed)
    return VideoTower(TowerConfig(dim=16, gate_hidden=4, dropout=0.3), DIMS)


def test_a_loaded_tower_gives_identical_embeddings(tmp_path: Path) -> None:
    save_tower(saved := tower(), tmp_path)
    np.testing.assert_array_equal(embed(load_tower(tmp_path), MATRIX), embed(saved, MATRIX))


@pytest.mark.parametrize(
    "shape", [{"fusion": "concat", "projection": 8}, {"fusion": "attention", "pooling": "attention"}]
)
def test_towers_of_every_architecture_can_be_loaded(shape: dict[str, Any], tmp_path: Path) -> None:
    save_tower(saved := VideoTower(TowerConfig(dim=16, **shape), DIMS), tmp_path)
    np.testing.assert_array_equal(embed(load_tower(tmp_path), MATRIX), embed(saved, MATRIX))


def test_a_tower_saved_before_fusion_and_pooling_settings_existed_can_be_loaded(tmp_path: Path) -> None:
    save_tower(saved := tower(), tmp_path)
    content = json.loads((tmp_path / CONFIG).read_text())
    content["config"] = {"dim": 16, "gate_hidden": 4, "gate_prior": [0.45, 0.1, 0.45], "dropout": 0.3}
    (tmp_path / CONFIG).write_text(json.dumps(content))
    names = {f"project.{m.value}.{n}" for m in Modality for n in ("0.mean", "0.spread", "0.gap", "3.weight")}
    assert saved.state_dict().keys() == names | {
        f"fusion.gate.{n}" for n in ("0.weight", "0.bias", "2.weight", "2.bias")
    }
    np.testing.assert_array_equal(embed(load_tower(tmp_path), MATRIX), embed(saved, MATRIX))


def test_a_loaded_tower_has_the_same_configuration_and_is_in_evaluation_mode(tmp_path: Path) -> None:
    save_tower(saved := tower().train(), tmp_path)
    loaded = load_tower(tmp_path)
    assert loaded.config == saved.config
    assert loaded.dims == DIMS
    assert not loaded.training


def test_saving_again_replaces_the_old_tower(tmp_path: Path) -> None:
    save_tower(tower(seed=0), tmp_path)
    save_tower(later := tower(seed=1), tmp_path)
    np.testing.assert_array_equal(embed(load_tower(tmp_path), MATRIX), embed(later, MATRIX))


def test_everything_but_the_weights_is_stored_as_json(tmp_path: Path) -> None:
    save_tower(tower(), tmp_path)
    content = json.loads((tmp_path / CONFIG).read_text())
    assert content["config"]["dropout"] == 0.3
    assert content["dims"] == {"visual": 12, "audio": 6, "text": 8}
