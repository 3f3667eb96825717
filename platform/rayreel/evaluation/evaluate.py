"""A tower beside honest baselines, on videos and views that neither training nor model selection has seen."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.preprocessing import normalize

from rayreel.errors import RayreelError
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.content import POOLED_WEIGHTS, pooled
from rayreel.evaluation.exam import Exam, Part, Protocol
from rayreel.evaluation.methods import TOWER, baselines, others, towers
from rayreel.evaluation.scorers import Vectors
from rayreel.evaluation.task import Task
from rayreel.evaluation.trial import Lists, Section, Trial
from rayreel.evaluation.users import UserTask
from rayreel.features.matrix import FeatureMatrix
from rayreel.tower.tower import VideoTower


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The report's sections by name, which methods are baselines, and how many videos were held out of how many."""

    sections: dict[str, Section]
    baselines: tuple[str, ...]
    held_out: int
    videos: int

    @property
    def flat(self) -> dict[str, float]:
        """The metrics at the shown length, such as {"category/tower/recall@10": …}."""
        return {
            f"{name}/{method}/{metric}": row[metric].mean
            for name, section in self.sections.items()
            for method, row in section.scores.items()
            for metric in section.shown
        }


def evaluate(
    tower: VideoTower,
    matrix: FeatureMatrix,
    splits: SplitConfig,
    config: EvaluationConfig | None = None,
    interactions: pa.Table | None = None,
    *,
    part: Part = "test",
    rivals: Mapping[str, "VideoTower | Vectors"] | None = None,
) -> Evaluation:
    """Every protocol that the catalog and its interactions allow, with all baselines beside the tower.

    `rivals` are more towers to stand in the tables, each compared with `tower`; a tower of other features comes as its
    embeddings [N, dim] of the same videos. One method is computed at a time, so that memory holds one set of vectors,
    not all. Raises RayreelError when there is nothing to ask.
    """
    exam = Exam.of(matrix, splits, config or EvaluationConfig(), interactions)
    trials = list(_trials(exam, part))
    held_out = len(getattr(exam.split, part))
    if not trials:
        raise RayreelError(
            f"Nothing to evaluate: of {held_out} held-out videos none has a category or a tag that another video "
            "shares. Give the catalog a category column or tags, give --interactions, or hold out more with "
            f"--set splits.{part}=0.3."
        )
    beaten = baselines(tower, exam)
    # The tower enters first: everything else is compared with it.
    for name, make in {TOWER: towers(tower, matrix), **beaten, **others(tower, rivals or {}, matrix)}.items():
        method = make()
        for trial in trials:
            if (scorer := method(trial.task)) is not None:
                trial.enter(name, scorer)
    sections = {name: section for trial in trials for name, section in trial.finished().items()}
    for section in sections.values():
        _put_tower_last(section)
    return Evaluation(sections, tuple(beaten), held_out, len(matrix))


def _trials(exam: Exam, part: Part) -> Iterator[Trial]:
    views_N = None if exam.users is None else exam.users.views_N
    lists = Lists(normalize(pooled(exam.matrix, POOLED_WEIGHTS)), views_N)
    protocols = [*(Protocol(name) for name in exam.config.relevance), Protocol.NEIGHBOURS, Protocol.USERS]
    for protocol in protocols:
        if (task := exam.task(protocol, part)) is not None:
            yield _trial(exam, protocol, part, task, lists)


def _trial(exam: Exam, protocol: Protocol, part: Part, task: Task, lists: Lists) -> Trial:
    config, only_hits = exam.config, protocol is Protocol.NEIGHBOURS
    rows = task.asked.targets_Q[task.queries] if isinstance(task, UserTask) else task.queries
    queries_of = _sections(exam, protocol, part, rows)
    headline = f"hit_rate@{config.neighbour_ks[0]}" if only_hits else config.headline
    sections = {
        name: Section(name, _ABOUT[name], int(chosen.sum()), len(task.candidates), headline, only_hits)
        for name, chosen in queries_of.items()
    }
    categories = np.array(exam.matrix.column("category"), dtype=np.str_)[rows]
    return Trial(task, sections, queries_of, categories, lists, config, only_hits)


_ABOUT = {
    "category": "Held-out videos ask for videos of their category from other sources.",
    "tags": "Held-out videos ask for videos of other sources that share a tag.",
    "co_watch": "Held-out videos ask for videos of other sources that the same users watched within the window.",
    "neighbours": "R@k: has any of the k nearest training videos the held-out video's category?",
    "users": "The target is each user's last view, ranked among all videos with their history masked.",
    "users, warm": "The same, targets with views in training.",
    "users, cold": "The same, targets among the held-out videos: neither training nor selection has seen them.",
}


def _sections(exam: Exam, protocol: Protocol, part: Part, rows: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Which queries each section covers. Users are divided by what training knew of their target."""
    everybody = {protocol.value: np.ones(len(rows), np.bool_)}
    if protocol is not Protocol.USERS or exam.users is None:
        return everybody
    cold = np.isin(rows, getattr(exam.split, part))
    kinds = {"users, warm": exam.users.views_N[rows] > 0, "users, cold": cold}
    return everybody | {name: chosen for name, chosen in kinds.items() if chosen.any()}


def _put_tower_last(section: Section) -> None:
    section.scores[TOWER] = section.scores.pop(TOWER)
    section.by_category[TOWER] = section.by_category.pop(TOWER)
