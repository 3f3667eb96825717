"""Compare the trials of a sweep: ranked on validation, then put to the test together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from ray.train import Checkpoint

from rayreel.errors import RayreelError
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.evaluate import Evaluation, evaluate
from rayreel.evaluation.methods import TOWER
from rayreel.features.matrix import FeatureMatrix
from rayreel.storage import Storage
from rayreel.tower.save import load_tower
from rayreel.tower.tower import VideoTower
from rayreel.training.config import Select, TrainConfig
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.sweep.grid import ImpossibleGrid
from rayreel.training.sweep.trial import Outcome


class NothingTrained(RayreelError):
    """No trial of a sweep came through."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Outcomes, the best cell's first and failed ones last, and the test: the best is its tower, the others rivals.

    `by` is what trials were chosen by on validation.
    """

    outcomes: list[Outcome]
    evaluation: Evaluation
    by: Select

    @property
    def best(self) -> Outcome:
        """Chosen on validation: the best trial of the cell that is best on average."""
        return self.outcomes[0]

    def method(self, outcome: Outcome) -> str:
        """What the outcome is called in `evaluation`."""
        return TOWER if outcome is self.best else outcome.trial.title

    def test(self, outcome: Outcome) -> dict[str, float]:
        """Its metrics on the test videos, such as {"category/ndcg@10": …}; none if it failed."""
        return {
            f"{name}/{metric}": section.scores[self.method(outcome)][metric].mean
            for name, section in self.evaluation.sections.items()
            for metric in (section.shown if outcome.trouble is None else ())
        }


def compare(
    outcomes: Sequence[Outcome],
    storage: Storage,
    matrix: FeatureMatrix,
    *,
    splits: SplitConfig,
    config: EvaluationConfig,
    interactions: pa.Table | None,
) -> Comparison:
    """Rank by validation alone, then measure all towers at once on the test. Raises NothingTrained without a tower."""
    ordered = ranked(outcomes)
    if ordered[0].trouble is not None:
        raise NothingTrained(f"None of {len(ordered)} trials came through. The first: {ordered[0].trouble}")
    select = ordered[0].trial.job.train.select
    towers = {o.trial.title: _tower(o, storage) for o in ordered if o.trouble is None}
    best = towers.pop(ordered[0].trial.title)
    return Comparison(ordered, evaluate(best, matrix, splits, config, interactions, rivals=towers), select)


def ranked(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """By falling mean score of their cells, within a cell by falling score; failed ones last."""
    through = [outcome for outcome in outcomes if outcome.trouble is None]
    scores: dict[str, list[float]] = {outcome.trial.label: [] for outcome in through}
    for outcome in through:
        scores[outcome.trial.label].append(outcome.score)
    ordered = sorted(through, key=lambda o: (-float(np.mean(scores[o.trial.label])), o.trial.label, -o.score))
    return [*ordered, *(outcome for outcome in outcomes if outcome.trouble is not None)]


def common_select(cells: Sequence[tuple[TrainConfig, PairsConfig]], *, users: bool) -> Select:
    """By what all trials choose their best epoch, so that their scores are of one kind.

    Left to itself a trial that learns from interactions is judged by users and another one by categories: if one of
    them learns from interactions, and there are `users`, all are judged by them. Raises ImpossibleGrid where cells
    name different ones.
    """
    named = {train.select for train, _ in cells}
    if len(named) > 1:
        raise ImpossibleGrid(
            f"--grid train.select={','.join(sorted(named))}: what trials are chosen by cannot vary among them."
        )
    if users and named == {Select.AUTO} and any(pairs.co_watched or pairs.co_liked for _, pairs in cells):
        return Select.USERS
    return named.pop()


def _tower(outcome: Outcome, storage: Storage) -> VideoTower:
    with Checkpoint(outcome.checkpoint, storage.filesystem).as_directory() as folder:
        return load_tower(Path(folder))
