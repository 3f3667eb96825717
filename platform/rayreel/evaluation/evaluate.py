"""Compare a tower with baselines on videos and views that neither training nor model selection has seen."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.preprocessing import normalize

from rayreel.errors import RayreelError
from rayreel.evaluation.comparison import ListInputs, MethodComparison, Section
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.content import POOLED_WEIGHTS, pooled
from rayreel.evaluation.exam import Exam, Part, Protocol
from rayreel.evaluation.examples import examples_of
from rayreel.evaluation.frozen import FewLines, fit_frozen_features
from rayreel.evaluation.leaks import LeakCheck, leak_checks
from rayreel.evaluation.methods import TITLES, TOWER, baselines, others, towers
from rayreel.evaluation.scorers import Vectors
from rayreel.evaluation.task import Task
from rayreel.evaluation.users import UserTask
from rayreel.evaluation.view_retrieval import VIEWS, ViewTask
from rayreel.features.matrix import FeatureMatrix
from rayreel.tower.embedder import Embedder

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, repr=False)
class Evaluation:
    """Sections of the report by name, the names of the baselines, and the numbers of held-out and of all videos.

    `leaks`: whether metadata give away the category. `settings`: what was chosen for each baseline of a few lines.
    """

    sections: dict[str, Section]
    baselines: tuple[str, ...]
    held_out: int
    videos: int
    leaks: tuple[LeakCheck, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def flat(self) -> dict[str, float]:
        """The metrics of the tables, such as {"category/tower/recall@10": 0.5}."""
        return {
            f"{name}/{method}/{metric}": row[metric].mean
            for name, section in self.sections.items()
            for method, row in section.scores.items()
            for metric in section.table_metrics
        }

    def __repr__(self) -> str:
        headlines = (
            f"{name}: {section.headline} {section.scores[TOWER][section.headline].mean:.3f}"
            for name, section in self.sections.items()
        )
        return f"Evaluation({self.held_out} of {self.videos} videos held out; {', '.join(headlines)})"

    def to_pandas(self) -> "pd.DataFrame":
        """Return the means of the tables' metrics, with a row per section and method."""
        import pandas as pd

        rows = {
            (name, method): {metric: row[metric].mean for metric in section.table_metrics}
            for name, section in self.sections.items()
            for method, row in section.scores.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["section", "method"])

    def _repr_html_(self) -> str:
        return self.to_pandas().to_html(float_format="{:.3f}".format, na_rep="")


def evaluate(
    tower: Embedder,
    matrix: FeatureMatrix,
    splits: SplitConfig,
    config: EvaluationConfig | None = None,
    interactions: pa.Table | None = None,
    *,
    part: Part = "test",
    rivals: Mapping[str, "Embedder | Vectors"] | None = None,
) -> Evaluation:
    """Run every protocol that the catalog and its interactions allow, for the tower and all baselines.

    Without labels and interactions, the only protocol is view retrieval. `rivals` are further towers for the tables,
    each compared with `tower`; pass a tower of other features as its embeddings [N, dim] of the same videos, which view
    retrieval leaves out. Methods are computed one at a time, so that memory holds the vectors of one. Raises
    RayreelError if no protocol has a query.
    """
    exam = Exam.of(matrix, splits, config or EvaluationConfig(), interactions)
    comparisons, leaks = list(_comparisons(exam, part)), tuple(leak_checks(exam))
    held_out = len(getattr(exam.split, part))
    frozen = fit_frozen_features(exam)
    rivals, compared, few = dict(rivals or {}), baselines(tower, exam, frozen), FewLines(exam, frozen)
    # Their settings are chosen on the validation videos.
    more = few.methods() if part == "test" else {}
    if not comparisons and (found := exam.views(part)) is not None:
        exam, comparisons = _on_views(exam, part, *found)
        # Averaging a view with the other view of its video would be the answer.
        tower = tower.without_averaging()
        rivals = {name: rival.without_averaging() for name, rival in rivals.items() if isinstance(rival, Embedder)}
        # Both views of a video have its title.
        compared = {name: make for name, make in baselines(tower, exam, frozen).items() if name != TITLES}
        more = {}
    if not comparisons:
        raise RayreelError(
            f"Nothing to evaluate: none of {held_out} held-out videos shares a category or a tag with another video, "
            "or has two frames to divide into two views. Add a category column or tags to the catalog, pass "
            f"--interactions, or hold out more videos with --set splits.{part}=0.3."
        )
    # The tower comes first: all other methods are compared with it.
    own = {TOWER: towers(tower, exam.matrix)}
    for name, make in {**own, **compared, **more, **others(tower, rivals, exam.matrix)}.items():
        method = make()
        for comparison in comparisons:
            if (scorer := method(comparison.task)) is not None:
                comparison.add(name, scorer)
    for comparison in comparisons:
        _add_examples(comparison, exam.matrix)
    sections = {name: section for comparison in comparisons for name, section in comparison.finish(more).items()}
    for section in sections.values():
        _put_tower_last(section)
    return Evaluation(sections, tuple(compared), held_out, len(matrix), leaks, few.chosen)


def _comparisons(exam: Exam, part: Part) -> Iterator[MethodComparison]:
    lists = list_inputs(exam)
    protocols = [*(Protocol(name) for name in exam.config.relevance), Protocol.NEIGHBOURS, Protocol.USERS]
    for protocol in protocols:
        if (task := exam.task(protocol, part)) is not None:
            yield comparison_on(exam, protocol, part, task, lists)


def list_inputs(exam: Exam) -> ListInputs:
    """Return the inputs of the list metrics."""
    return ListInputs(
        normalize(pooled(exam.matrix, POOLED_WEIGHTS)), None if exam.users is None else exam.users.views_N
    )


def _on_views(exam: Exam, part: Part, views: FeatureMatrix, task: ViewTask) -> tuple[Exam, list[MethodComparison]]:
    """Return the exam with views as its videos, and the comparison on them."""
    exam = replace(exam, matrix=views, users=None)
    return exam, [comparison_on(exam, VIEWS, part, task, list_inputs(exam))]


def comparison_on(exam: Exam, protocol: str, part: Part, task: Task, lists: ListInputs) -> MethodComparison:
    """Return the comparison of methods on a task, without a method yet; `protocol` is a Protocol or VIEWS."""
    config, only_hits = exam.config, protocol == Protocol.NEIGHBOURS
    rows = task.user_queries.targets_Q[task.queries] if isinstance(task, UserTask) else task.queries
    queries_of = _sections(exam, protocol, part, rows)
    headline = f"hit_rate@{config.neighbour_ks[0]}" if only_hits else config.headline
    sections = {
        name: Section(name, _ABOUT[name], int(chosen.sum()), len(task.candidates), headline, only_hits)
        for name, chosen in queries_of.items()
    }
    categories = np.array(exam.matrix.column("category"), dtype=np.str_)[rows]
    return MethodComparison(task, sections, queries_of, categories, lists, config, only_hits)


_ABOUT = {
    "category": "Queries are held-out videos; videos of the same category from other sources are relevant.",
    "tags": "Queries are held-out videos; videos from other sources that share a tag are relevant.",
    "co_watch": "Queries are held-out videos; videos from other sources that the same users watched within the "
    "co-watch window are relevant.",
    "neighbours": "R@k: share of held-out videos with a video of their category among the k nearest training videos.",
    VIEWS: "Each held-out video is divided into two views without a common frame or audio window; the query is one "
    "view, and the other is to be found among the views of all videos. No video has a category, a tag or a viewer in "
    "common with a held-out one. Whether viewers would find the recommendations relevant could therefore not be "
    "measured, only whether the tower recognises a video from other moments of it.",
    "users": "The target is each user's last view, ranked among all videos except those in their history.",
    "users, warm": "As users, for targets with views in training.",
    "users, cold": "As users, for held-out target videos, which neither training nor model selection has seen.",
}


def _sections(exam: Exam, protocol: str, part: Part, rows: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Return the mask of each section's queries. Users are also split by whether their target was in training."""
    all_queries = {protocol: np.ones(len(rows), np.bool_)}
    if protocol != Protocol.USERS or exam.users is None:
        return all_queries
    cold = np.isin(rows, getattr(exam.split, part))
    kinds = {"users, warm": exam.users.views_N[rows] > 0, "users, cold": cold}
    return all_queries | {name: chosen for name, chosen in kinds.items() if chosen.any()}


def _add_examples(comparison: MethodComparison, matrix: FeatureMatrix) -> None:
    """Keep what the tower finds for videos as queries; users are more than one video."""
    if isinstance(comparison.task, UserTask) or comparison.only_hits or comparison.ranked is None:
        return
    queries_Q, k = comparison.task.queries, comparison.config.at
    ids_N, of_N = (np.array(matrix.column(name), np.str_) for name in ("video_id", "category"))
    for section in comparison.sections.values():
        values_Q = comparison.tower[section.headline]
        section.examples = examples_of(queries_Q, comparison.ranked, values_Q, ids_N=ids_N, categories_N=of_N, k=k)


def _put_tower_last(section: Section) -> None:
    section.scores[TOWER] = section.scores.pop(TOWER)
    section.by_category[TOWER] = section.by_category.pop(TOWER)
