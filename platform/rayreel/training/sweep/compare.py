"""Compare the trials of a sweep: rank them on validation, then evaluate all on the test videos."""

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
from rayreel.tower.embedder import Embedder
from rayreel.tower.save import load_tower
from rayreel.training.config import Select, TrainConfig
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.sweep.grid import ImpossibleGrid
from rayreel.training.sweep.trial import TrialOutcome


class NothingTrained(RayreelError):
    """All trials of a sweep failed."""


@dataclass(frozen=True, slots=True)
class SweepComparison:
    """Outcomes, ranked with the best cell first and failed trials last, and the evaluation on the test videos.

    In the evaluation the best trial is the tower and the others are its rivals. `by`: the validation task by which
    trials were ranked.
    """

    outcomes: list[TrialOutcome]
    evaluation: Evaluation
    by: Select

    @property
    def best(self) -> TrialOutcome:
        """The best trial, on validation, of the cell with the best mean score."""
        return self.outcomes[0]

    def method(self, outcome: TrialOutcome) -> str:
        """Return the method name of the outcome in `evaluation`."""
        return TOWER if outcome is self.best else outcome.trial.title

    def test(self, outcome: TrialOutcome) -> dict[str, float]:
        """Return the outcome's test metrics, such as {"category/ndcg@10": 0.5}; empty if it failed."""
        return {
            f"{name}/{metric}": section.scores[self.method(outcome)][metric].mean
            for name, section in self.evaluation.sections.items()
            for metric in (section.table_metrics if outcome.trouble is None else ())
        }


def compare(
    outcomes: Sequence[TrialOutcome],
    storage: Storage,
    matrix: FeatureMatrix,
    *,
    splits: SplitConfig,
    config: EvaluationConfig,
    interactions: pa.Table | None,
) -> SweepComparison:
    """Rank by validation only, then evaluate all towers on the test videos. Raises NothingTrained if all failed."""
    ordered = ranked(outcomes)
    if ordered[0].trouble is not None:
        raise NothingTrained(
            f"All {len(ordered)} trials failed. Fix the first error and run the sweep again: {ordered[0].trouble}"
        )
    select = ordered[0].trial.job.train.select
    towers = {o.trial.title: _tower(o, storage) for o in ordered if o.trouble is None}
    best = towers.pop(ordered[0].trial.title)
    return SweepComparison(ordered, evaluate(best, matrix, splits, config, interactions, rivals=towers), select)


def ranked(outcomes: Sequence[TrialOutcome]) -> list[TrialOutcome]:
    """Sort by descending mean score of the cell, within a cell by descending score; failed trials last."""
    succeeded = [outcome for outcome in outcomes if outcome.trouble is None]
    scores: dict[str, list[float]] = {outcome.trial.label: [] for outcome in succeeded}
    for outcome in succeeded:
        scores[outcome.trial.label].append(outcome.score)
    ordered = sorted(succeeded, key=lambda o: (-float(np.mean(scores[o.trial.label])), o.trial.label, -o.score))
    return [*ordered, *(outcome for outcome in outcomes if outcome.trouble is not None)]


def common_select(cells: Sequence[tuple[TrainConfig, PairsConfig]], *, users: bool) -> Select:
    """Return the validation task that all trials use, so that their scores are comparable.

    With "auto", a trial that learns from interactions is validated by users and another one by categories. If any
    trial learns from interactions and there are `users`, all are validated by users. Raises ImpossibleGrid if cells
    set different tasks.
    """
    named = {train.select for train, _ in cells}
    if len(named) > 1:
        raise ImpossibleGrid(
            f"--grid train.select={','.join(sorted(named))}: all trials must use the same validation task. Set it with "
            "--set train.select."
        )
    if users and named == {Select.AUTO} and any(pairs.of_users for _, pairs in cells):
        return Select.USERS
    return named.pop()


def _tower(outcome: TrialOutcome, storage: Storage) -> Embedder:
    with Checkpoint(outcome.checkpoint, storage.filesystem).as_directory() as folder:
        return load_tower(Path(folder))
