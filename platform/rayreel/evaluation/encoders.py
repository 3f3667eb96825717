"""Compare frozen encoders on a catalog: what each finds alone and in combination, and what it costs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rayreel.encoders.encoder import Modality
from rayreel.encoders.known import KnownEncoder
from rayreel.errors import RayreelError
from rayreel.evaluation.choosing import Challenge, EncoderChoice, challenge, choose
from rayreel.evaluation.comparison import MethodComparison, Section, Versus
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.content import fitted, standardised, weighted
from rayreel.evaluation.evaluate import comparison_on, list_inputs
from rayreel.evaluation.exam import Exam, Part, Protocol
from rayreel.evaluation.retrieval import measure
from rayreel.evaluation.task import Task
from rayreel.evaluation.view_retrieval import VIEWS, two_views
from rayreel.features.matrix import FeatureMatrix
from rayreel.tower.tower import Standardise

# The first of these that the catalog allows decides: what users watch before what metadata says.
DECIDING = (Protocol.CO_WATCH, Protocol.CATEGORY, Protocol.TAGS)
STEPS = 10  # weights are multiples of 1 / STEPS


@dataclass(frozen=True, slots=True, eq=False)
class EncoderFeatures:
    """One encoder's features of a catalog's videos, and its cost in ms per video.

    The matrix has no other modality. All encoders of a comparison have the same videos, in the same order: see
    `aligned`.
    """

    known: KnownEncoder
    matrix: FeatureMatrix
    cost_ms: float

    @property
    def bytes_per_video(self) -> float:
        """Size of its float16 vectors."""
        return self.matrix.vectors[self.known.modality].values.nbytes / max(1, len(self.matrix))


@dataclass(frozen=True, slots=True)
class Contender:
    """One encoder, or a weighted combination of one per modality; `weights` sum to 1, by the encoders' labels."""

    name: str
    weights: dict[str, float]
    cost_ms: float
    bytes_per_video: float
    licences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EncoderComparison:
    """Contenders from the cheapest to the dearest, their scores by section, the challenges and the recommendations."""

    contenders: list[Contender]
    sections: dict[str, Section]
    deciding: str
    challenges: list[Challenge]
    choices: list[EncoderChoice]
    videos: int
    held_out: int

    @property
    def headline(self) -> str:
        """The deciding metric, such as ndcg@10."""
        return self.sections[self.deciding].headline

    @property
    def flat(self) -> dict[str, float]:
        """Metrics and costs by name, such as {"category/visual:resnet50/ndcg@10": 0.5}."""
        scores = {
            f"{name}/{method}/{metric}": row[metric].mean
            for name, section in self.sections.items()
            for method, row in section.scores.items()
            for metric in shown_metrics(section)
        }
        return scores | {f"cost_ms/{one.name}": one.cost_ms for one in self.contenders}


def shown_metrics(section: Section) -> tuple[str, str]:
    """Return the metrics of the table."""
    return section.headline, "hit_rate@1"


def aligned(tables: Sequence[pa.Table]) -> list[pa.Table]:
    """Return the rows of the videos that all tables have. Raises RayreelError if there are none."""
    common = tables[0]["video_id"].combine_chunks()
    for table in tables[1:]:
        common = common.filter(pc.is_in(common, value_set=table["video_id"].combine_chunks()))
    if not len(common):
        raise RayreelError("No video has features of all encoders. See why they failed: encoder-features/quarantine.")
    return [table.filter(pc.is_in(table["video_id"], value_set=common)) for table in tables]


def compare_encoders(
    encoders: Sequence[EncoderFeatures],
    splits: SplitConfig,
    config: EvaluationConfig,
    interactions: pa.Table | None = None,
    *,
    budgets_ms: Sequence[float] = (),
    in_use: Sequence[str] = (),
) -> EncoderComparison:
    """Measure every encoder alone and in combinations on the test videos, and recommend one per budget.

    Features are standardised with the statistics of all but the test videos, as a tower does, and mean-pooled. A
    combination has the encoders of several modalities that are best on validation: of all, of those within a budget,
    and those `in_use` (labels). Its weights are the best on validation. Raises RayreelError without a query.
    """
    config = config.model_copy(update={"ks": tuple(sorted({1, config.at}))})
    arena = Arena.of(encoders, splits, config, interactions)
    contenders = sorted(
        [*map(_alone, encoders), *_combinations(arena, encoders, budgets_ms, in_use)],
        key=lambda one: (one.cost_ms, one.name),
    )
    sections = dict[str, Section]()
    for protocol in arena.protocols:
        comparison = arena.comparison(protocol)
        for one in contenders:
            comparison.add(one.name, comparison.task.by(arena.vectors(one.weights, protocol, "test")))
        sections |= comparison.finish()
    challenges = challenge({one.name: one.cost_ms for one in contenders}, arena.versus(contenders))
    deciding = sections[arena.protocols[0]]
    means = {name: row[deciding.headline].mean for name, row in deciding.scores.items()}
    choices = [choose(challenges, means, budget) for budget in (*sorted(set(budgets_ms)), None)]
    return EncoderComparison(
        contenders, sections, deciding.name, challenges, choices, len(arena.exam.matrix), len(arena.exam.split.test)
    )


@dataclass(frozen=True)
class Arena:
    """The tasks of a comparison and the vectors of each encoder on them. The first protocol decides."""

    exam: Exam
    encoders: dict[str, EncoderFeatures]
    fits: dict[str, Standardise]
    protocols: list[str]
    cache: dict[tuple[str, str, Part], NDArray[np.float32]] = field(default_factory=dict)

    @staticmethod
    def of(
        encoders: Sequence[EncoderFeatures],
        splits: SplitConfig,
        config: EvaluationConfig,
        interactions: pa.Table | None,
    ) -> "Arena":
        """Build the tasks of the first frame, sound and text encoder's matrix: the videos are the same in all."""
        exam = Exam.of(_together(encoders), splits, config, interactions)
        named = [p for p in DECIDING if p in config.relevance and exam.task(p, "test") is not None]
        views = [VIEWS] if not named and exam.views("test") is not None else []
        if not (protocols := [*named, *views]):
            raise RayreelError(
                "Nothing to compare by: no held-out video shares a category, a tag or viewers with another, or has two "
                "frames to divide into two views. Add a category column or tags to the catalog, or --interactions."
            )
        rows = exam.candidates("validation")
        fits = {one.known.label: fitted(one.matrix.vectors[one.known.modality], rows) for one in encoders}
        return Arena(exam, {one.known.label: one for one in encoders}, fits, [str(p) for p in protocols])

    def task(self, protocol: str, part: Part) -> Task | None:
        """Return the task; None if there is no query."""
        if protocol != VIEWS:
            return self.exam.task(Protocol(protocol), part)
        found = self.exam.views(part)
        return None if found is None else found[1]

    def comparison(self, protocol: str) -> MethodComparison:
        """Return a comparison of methods on the test videos, without a method yet."""
        exam, task = self.exam, self.task(protocol, "test")
        assert task is not None, f"{protocol} was found to have a query"
        if protocol == VIEWS:
            exam = replace(exam, matrix=two_views(exam.matrix, exam.divided("test")), users=None)
        return comparison_on(exam, protocol, "test", task, list_inputs(exam))

    def vectors(self, weights: Mapping[str, float], protocol: str, part: Part) -> NDArray[np.float32]:
        """Return vectors whose inner products are the weighted sum of the encoders' cosines, on a task's videos."""
        parts = {self.encoders[label].known.modality: self._unit(label, protocol, part) for label in weights}
        return weighted(parts, {self.encoders[label].known.modality: weight for label, weight in weights.items()})

    def validated(self, weights: Mapping[str, float]) -> float:
        """Return the deciding metric on validation; 0 if validation has no query."""
        protocol, config = self.protocols[0], self.exam.config
        task = self.task(protocol, "validation")
        if task is None:
            return 0.0
        return measure(task, task.by(self.vectors(weights, protocol, "validation")), [config.at])[config.headline]

    def versus(self, contenders: Sequence[Contender]) -> Callable[[str, str], Versus]:
        """Return a function that compares the first contender with the second on the same queries."""
        weights = {one.name: one.weights for one in contenders}

        def compared(name: str, other: str) -> Versus:
            comparison = self.comparison(self.protocols[0])
            for each in (name, other):
                vectors_ND = self.vectors(weights[each], self.protocols[0], "test")
                comparison.add(each, comparison.task.by(vectors_ND))
            section = comparison.finish()[self.protocols[0]]
            return section.versus[other][section.headline]

        return compared

    def _unit(self, label: str, protocol: str, part: Part) -> NDArray[np.float32]:
        place: tuple[str, str, Part] = (label, "views", part) if protocol == VIEWS else (label, "videos", "test")
        if place not in self.cache:
            one = self.encoders[label]
            matrix = two_views(one.matrix, self.exam.divided(part)) if protocol == VIEWS else one.matrix
            self.cache[place] = standardised(matrix.vectors[one.known.modality], self.fits[label])
        return self.cache[place]


def _together(encoders: Sequence[EncoderFeatures]) -> FeatureMatrix:
    """Return a matrix with the vectors of the first encoder of each modality."""
    first = encoders[0].matrix
    vectors = first.with_modalities([]).vectors
    for one in reversed(encoders):
        vectors[one.known.modality] = one.matrix.vectors[one.known.modality]
    return FeatureMatrix(vectors, first.rows)


def _alone(one: EncoderFeatures) -> Contender:
    return Contender(one.known.label, {one.known.label: 1.0}, one.cost_ms, one.bytes_per_video, (one.known.licence,))


def _combinations(
    arena: Arena, encoders: Sequence[EncoderFeatures], budgets_ms: Sequence[float], in_use: Sequence[str]
) -> Iterator[Contender]:
    alone = {one.known.label: arena.validated({one.known.label: 1.0}) for one in encoders}
    teams = [_best(encoders, alone, budget) for budget in (*budgets_ms, None)]
    teams.append([one for one in encoders if one.known.label in set(in_use)])
    members = dict.fromkeys(
        tuple(some) for team in teams for size in (2, 3) for some in combinations(team, min(size, len(team)))
    )
    for some in members:
        if len(some) > 1:
            yield _combined(arena, some)


def _best(
    encoders: Sequence[EncoderFeatures], alone: Mapping[str, float], budget_ms: float | None
) -> list[EncoderFeatures]:
    """Return the encoder of each modality with the best metric on validation, of those within the budget."""
    within = [one for one in encoders if budget_ms is None or one.cost_ms <= budget_ms]
    of = [[one for one in within if one.known.modality is modality] for modality in Modality]
    return [max(some, key=lambda one: alone[one.known.label]) for some in of if some]


def _combined(arena: Arena, members: Sequence[EncoderFeatures]) -> Contender:
    """Return the combination with the weights that are best on validation; the first of equals, the most even."""
    grid = [shares for shares in product(range(1, STEPS), repeat=len(members)) if sum(shares) == STEPS]
    grid.sort(key=lambda shares: max(shares) - min(shares))
    labels = [one.known.label for one in members]
    tried = [dict(zip(labels, (share / STEPS for share in shares), strict=True)) for shares in grid]
    weights = max(tried, key=arena.validated)
    name = " + ".join(f"{weight:.1f} {label}" for label, weight in weights.items())
    licences = tuple(dict.fromkeys(one.known.licence for one in members if one.known.licence))
    cost, size = sum(one.cost_ms for one in members), sum(one.bytes_per_video for one in members)
    return Contender(name, weights, cost, size, licences)
