"""Choose, on validation queries, how a release averages its vectors: only as far as that is measured to help."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rayreel.evaluation.metrics import Values, per_query
from rayreel.evaluation.ranking import rank
from rayreel.evaluation.resampling import p_values
from rayreel.tower.config import Smoothing
from rayreel.tower.smoothing import smoothed
from rayreel.training.config import Select
from rayreel.training.validation import Validation

_AT = 10
METRIC = f"ndcg@{_AT}"
AVERAGED_SCORE = f"validation/averaged/{METRIC}"
# On 400 real clips, over five splits by repository, each of these raises the mean nDCG@10 of the test clips by 0.02 to
# 0.05, of frozen features, with a classifier and of towers (p < 0.005). Equal weights blur the sources of an index.
CANDIDATES = tuple(Smoothing(neighbours=neighbours, alpha=3) for neighbours in (3, 5, 10))
# Without queries to measure by. In 60 synthetic worlds it raises the nDCG@10 of frozen features by 0.02 on average, and
# in none it lowers it significantly, as ten neighbours do in one; on the clips above by 0.02.
UNMEASURED = CANDIDATES[0]
# Exact neighbours of more videos take minutes. Of a larger catalog, a release is averaged only if that is set.
_MOST = 20_000


@dataclass(frozen=True, slots=True)
class SmoothingChoice:
    """The chosen smoothing, the validation nDCG@10 without any and of the best candidate, and p of the difference.

    p is that of a paired test over sources. All three are NaN if nothing could be measured.
    """

    smoothing: Smoothing
    best: Smoothing
    none: float = math.nan
    score: float = math.nan
    p: float = math.nan

    @property
    def is_measured(self) -> bool:
        """Whether there were validation queries to choose by."""
        return not math.isnan(self.score)

    def __str__(self) -> str:
        if not self.is_measured:
            return f"{self.smoothing}; not measured, for lack of labels and interactions"
        verdict = f"{self.best}: {METRIC} {self.score:.3f} against {self.none:.3f} without, p {self.p:.3f}"
        return verdict if self.smoothing.neighbours else f"none ({verdict})"


def is_measurable(task: Validation) -> bool:
    """Whether the task has queries that show what averaging brings; view retrieval says nothing about neighbours."""
    return task.by is not Select.VIEWS and len(task.task.queries) > 0


def unmeasured(videos: int) -> SmoothingChoice | None:
    """Return how to average frozen features of a catalog of this size that cannot be measured; None if too large."""
    return None if videos > _MOST else SmoothingChoice(UNMEASURED, UNMEASURED)


def choose_smoothing(embedding_ND: NDArray[np.float32], task: Validation) -> SmoothingChoice | None:
    """Return how to average the embeddings [N, dim] of a validation task's videos; None if nothing can be said.

    The candidate with the highest mean nDCG@10 over the validation queries is taken if that is higher than without: few
    sources can show more, and the gates judge the averaged vectors on the test videos.
    """
    if not is_measurable(task) or len(task.rows) > _MOST:
        return None
    none_Q = _scores(embedding_ND, task, Smoothing())
    scores = {each: _scores(embedding_ND, task, each) for each in CANDIDATES}
    best = max(scores, key=lambda each: float(scores[each].mean()))
    lead_Q1 = (scores[best] - none_Q)[:, None]
    p = float(p_values(lead_Q1, task.task.clusters, times=2000)[0])
    taken = best if lead_Q1.mean() > 0 else Smoothing()
    return SmoothingChoice(taken, best, float(none_Q.mean()), float(scores[best].mean()), p)


def _scores(embedding_ND: NDArray[np.float32], task: Validation, smoothing: Smoothing) -> Values:
    """Return the nDCG@10 of every query [Q] with the videos of the task, and no others, averaged."""
    vectors_ND = embedding_ND.copy()
    vectors_ND[task.rows] = smoothed(embedding_ND[task.rows], smoothing)
    return per_query(rank(task.task, task.task.by(vectors_ND), _AT), [_AT], ["ndcg"])[METRIC]
