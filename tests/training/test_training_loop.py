import numpy as np
import torch

from feature_rows import DIMS, clusters
from rayreel.evaluation.splits import SplitConfig, groups_of, split_groups
from rayreel.tower.embed import collate
from rayreel.tower.losses import InfoNCE
from rayreel.tower.tower import TowerConfig, VideoTower
from rayreel.training.loop import SCORE, Contrast, validation_task
from rayreel.training.views import two_views

SPLITS = SplitConfig(validation=0.2, test=0.3)


def test_choosing_an_epoch_never_sees_a_test_video() -> None:
    matrix = clusters()
    groups = groups_of(matrix, SPLITS)
    split = split_groups(groups, SPLITS)
    task = validation_task(matrix, split, groups)
    assert task.queries.tolist() == split.validation.tolist()
    assert set(task.candidates) == set(split.train) | set(split.validation)
    assert not set(task.candidates) & set(split.test)


def test_the_score_that_chooses_an_epoch_is_measured_on_validation() -> None:
    assert SCORE.startswith("validation/")


def test_a_few_steps_on_clear_clusters_bring_the_loss_down() -> None:
    torch.manual_seed(0)
    matrix = clusters(categories=16, each=1)
    batch = collate(matrix, np.arange(len(matrix)))
    model = Contrast(VideoTower(TowerConfig(dim=16), DIMS), InfoNCE(), rank=0, workers=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for step in range(40):
        optimizer.zero_grad()
        loss = model(*two_views(batch, 0.2, torch.Generator().manual_seed(step)))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
