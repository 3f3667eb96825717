import json
from pathlib import Path

import numpy as np
import torch

from feature_rows import DIMS, feature_matrix, feature_row
from rayreel.tower.embed import embed
from rayreel.tower.save import CONFIG, load_tower, save_tower
from rayreel.tower.tower import TowerConfig, VideoTower

MATRIX = feature_matrix(feature_row("a"), feature_row("b", windows=0), feature_row("c", text=False))


def tower(seed: int = 0) -> VideoTower:
    torch.manual_seed(seed)
    return VideoTower(TowerConfig(dim=16, gate_hidden=4, dropout=0.3), DIMS)


def test_a_tower_read_again_gives_identical_embeddings(tmp_path: Path) -> None:
    save_tower(saved := tower(), tmp_path)
    np.testing.assert_array_equal(embed(load_tower(tmp_path), MATRIX), embed(saved, MATRIX))


def test_a_tower_read_again_has_the_same_shape_and_does_not_drop_out(tmp_path: Path) -> None:
    save_tower(saved := tower().train(), tmp_path)
    loaded = load_tower(tmp_path)
    assert loaded.config == saved.config
    assert loaded.dims == DIMS
    assert not loaded.training


def test_saving_again_replaces_what_was_there(tmp_path: Path) -> None:
    save_tower(tower(seed=0), tmp_path)
    save_tower(later := tower(seed=1), tmp_path)
    np.testing.assert_array_equal(embed(load_tower(tmp_path), MATRIX), embed(later, MATRIX))


def test_everything_but_the_weights_can_be_read_by_people(tmp_path: Path) -> None:
    save_tower(tower(), tmp_path)
    content = json.loads((tmp_path / CONFIG).read_text())
    assert content["config"]["dropout"] == 0.3
    assert content["dims"] == {"visual": 12, "audio": 6, "text": 8}
