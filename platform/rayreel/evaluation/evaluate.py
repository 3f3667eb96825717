"""A tower beside honest baselines, on videos that neither training nor model selection has seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rayreel.encoders.encoder import Modality
from rayreel.errors import RayreelError
from rayreel.evaluation.baselines import Scorer, by_chance, by_embedding, by_pooled_features, by_titles
from rayreel.evaluation.retrieval import Task, measure
from rayreel.evaluation.splits import SplitConfig, groups_of, split_groups
from rayreel.features.matrix import FeatureMatrix
from rayreel.tower.embed import embed
from rayreel.tower.tower import VideoTower

POOLED_WEIGHTS = {Modality.VISUAL: 0.7, Modality.TEXT: 0.3}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics by method; the tower's row is `tower`."""

    scores: dict[str, dict[str, float]]
    queries: int
    held_out: int
    candidates: int

    @property
    def flat(self) -> dict[str, float]:
        """One flat mapping, such as {"tower/recall@10": …}."""
        return {f"{name}/{key}": value for name, row in self.scores.items() for key, value in row.items()}


def evaluate(tower: VideoTower, matrix: FeatureMatrix, splits: SplitConfig, ks: Sequence[int] = (5, 10)) -> Evaluation:
    """Held-out videos are the queries, all other groups' videos the candidates, category is relevance."""
    groups = groups_of(matrix, splits)
    held_out = split_groups(groups, splits).test
    task = Task.of(held_out, np.arange(len(matrix)), matrix.column("category"), groups)
    if len(task.queries) == 0:
        raise RayreelError(
            f"Nothing to evaluate: of {len(held_out)} held-out videos none has a category that another video shares. "
            "Give the catalog a category column, or hold out more with --set splits.test=0.3."
        )
    scores = {name: measure(task, scorer, ks) for name, scorer in methods(tower, matrix).items()}
    return Evaluation(scores, len(task.queries), len(held_out), len(matrix))


def methods(tower: VideoTower, matrix: FeatureMatrix) -> dict[str, Scorer]:
    """The tower last, behind everything it has to beat."""
    return {
        "random": by_chance(matrix),
        "TF-IDF titles": by_titles(matrix),
        "mean-pooled .7 vis .3 txt": by_pooled_features(matrix, POOLED_WEIGHTS),
        "untrained tower": by_embedding(embed(untrained(tower), matrix)),
        "tower": by_embedding(embed(tower, matrix)),
    }


def untrained(tower: VideoTower, seed: int = 0) -> VideoTower:
    """A tower of the same shape and standardising with fresh weights: what is left of a tower without training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = VideoTower(tower.config, tower.dims)
    fresh.take_inputs(tower)
    return fresh.to(next(tower.parameters()).device)
