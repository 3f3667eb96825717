"""The results of a query: chosen among the candidates, for diversity and serendipity too, and explained."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayreel.encoders.encoder import Modality
from rayreel.recommendation.candidates import Constraints, RankedCandidates, Source
from rayreel.recommendation.live import Live
from rayreel.recommendation.passages import passage_of
from rayreel.recommendation.query import Options, Vector
from rayreel.recommendation.steps import PINNED, explored, through_steps, with_pins
from rayreel.speech.transcript import SpokenSegment

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("video_id", "score", "title", "category", "tags", "metadata", "has_video")


@dataclass(frozen=True, slots=True)
class Because:
    """The watched video that a result is nearest to, and the cosine of the two."""

    video_id: str
    title: str
    cosine: float


class ResultExplanation(NamedTuple):
    """Why a video is among the results.

    `stage` is the last step that the result depended on: neighbours (stored with the release), overlay (added after the
    snapshot), index, bm25 (found only by its words), mmr (chosen for diversity), serendipity (another category),
    popular (nothing is known of the user), user (by the user tower), or rule, explore and pin of a scenario.
    `modalities` are the cosines of the query with the video embedded from one modality alone; absent ones are omitted.
    `passage` is where most words of the query are said. `because` is of a user's history.
    """

    stage: str
    modalities: dict[Modality, float]
    passage: SpokenSegment | None = None
    because: Because | None = None


class RankedVideo(NamedTuple):
    """One result. The score is the cosine of its embedding and the query; a hybrid search adds the match of the words.

    `has_video` is False for an item that is known by its text only. `cosine` is set in a hybrid search.
    `content_hash` is the SHA-256 of its file. `reranked` is the score of a reranker, by which results are then ordered.
    `propensity` is the chance that it is among the results, where a scenario explores.
    """

    video_id: str
    score: float
    title: str
    category: str
    tags: tuple[str, ...]
    extra: Mapping[str, Any]
    has_video: bool = True
    cosine: float | None = None
    explanation: ResultExplanation | None = None
    content_hash: str | None = None
    reranked: float | None = None
    propensity: float | None = None


@dataclass(frozen=True, slots=True, repr=False)
class RankedResults:
    """Results from one release, best first. Can be iterated and indexed; notebooks show a table.

    `reranking_ms`: how long a reranker took, if there was one. `searched`: the text that was searched instead of the
    query's, if words of it were corrected.
    """

    release: int
    results: list[RankedVideo]
    reranking_ms: float | None = None
    searched: str | None = None

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[RankedVideo]:
        return iter(self.results)

    def __getitem__(self, rank: int) -> RankedVideo:
        return self.results[rank]

    def __repr__(self) -> str:
        rows = [f"{found.score:7.3f}  {found.video_id}  {found.category}  {found.title}" for found in self]
        instead = f" for {self.searched!r}" if self.searched else ""
        return "\n".join([f"{len(self)} results of release {self.release}{instead}", *rows])

    def to_pandas(self) -> "pd.DataFrame":
        """Return a table with one row per result; explained results have their stage and the modalities' cosines."""
        import pandas as pd

        return pd.DataFrame([_row(found) for found in self], columns=None if self.results else list(_COLUMNS))

    def _repr_html_(self) -> str:
        return self.to_pandas().to_html()


def _row(found: RankedVideo) -> dict[str, Any]:
    row = dict(zip(_COLUMNS, found[: len(_COLUMNS)], strict=True))
    if found.explanation is not None:
        row |= {"stage": found.explanation.stage} | {m.value: c for m, c in found.explanation.modalities.items()}
        row |= {"passage": found.explanation.passage.text} if found.explanation.passage else {}
    return row


def choose(
    live: Live,
    source: Source,
    options: Options,
    query: Vector,
    *,
    home: frozenset[str],
    exclude: frozenset[str] = frozenset(),
    text: str | None = None,
) -> RankedResults | None:
    """Return the results from a source, None if it has no answer. `query`: [dim], or one per interest [I, dim].

    `text`: its words, for the passages of explanations.
    """
    scenario = options.scenario
    constraints = Constraints.of(live, options, exclude | (scenario.block if scenario else frozenset()), home)
    pool = _nearest(live, source, options.pool(), constraints, query)
    if pool is not None and scenario is not None:
        pool = through_steps(live, pool, scenario, time.time() if options.now is None else options.now)
    chosen = None if pool is None else _diverse(live, pool, options)
    if chosen is not None and options.serendipity and home:
        nearest = partial(_nearest, live, source, constraints=constraints.excluding_categories(home), query=query)
        chosen = _serendipitous(live, chosen, options, home, nearest)
    if chosen is not None and scenario is not None and scenario.pins:
        chosen = with_pins(live, chosen, scenario.pins, constraints, options.top_k)
    propensities: Mapping[int, float] = {}
    if pool is not None and chosen is not None and scenario is not None and scenario.explore:
        pinned = frozenset(place for place, stage in zip(chosen.places, chosen.stages, strict=True) if stage == PINNED)
        chosen, propensities = explored(chosen, pool, scenario.explore, np.random.default_rng(), pinned)
    if chosen is None:
        return None
    results = _results(live, chosen, options, query, text)
    if propensities:
        found = (propensities[place] for place in chosen.places)
        results = [video._replace(propensity=chance) for video, chance in zip(results, found, strict=True)]
    return RankedResults(live.version, results)


def _diverse(live: Live, pool: RankedCandidates, options: Options) -> RankedCandidates:
    """Select the results from a pool. The stage of those not among the best by score alone is mmr."""
    if not options.diversity:
        return pool if len(pool.places) <= options.top_k else pool.take(range(options.top_k))
    relevance_P = np.asarray(pool.scores, np.float32)
    order = select_diverse(relevance_P, live.vectors(pool.places), options.top_k, options.diversity)
    chosen = pool.take(order)
    stages = ["mmr" if rank >= options.top_k else stage for rank, stage in zip(order, chosen.stages, strict=True)]
    return RankedCandidates(chosen.places, chosen.scores, stages)


def _nearest(
    live: Live, source: Source, count: int, constraints: Constraints, query: Vector
) -> RankedCandidates | None:
    found = source.nearest(count, constraints)
    if found is None or constraints.threshold == -math.inf:
        return found
    return found.take(np.flatnonzero(cosines(live, found.places, query) >= constraints.threshold).tolist())


def _serendipitous(
    live: Live,
    chosen: RankedCandidates,
    options: Options,
    home: frozenset[str],
    nearest: Callable[[int], RankedCandidates | None],
) -> RankedCandidates | None:
    """`nearest` returns the nearest of other categories."""
    required = required_outsiders(options.serendipity, options.top_k)
    is_outsider = [live.row(place).category not in home for place in chosen.places]
    if sum(is_outsider) >= required:
        return chosen
    # All that are required, even if some are chosen already.
    others = nearest(required)
    return None if others is None else with_outsiders(chosen, is_outsider, others, required)


def _results(
    live: Live, chosen: RankedCandidates, options: Options, query: Vector, text: str | None
) -> list[RankedVideo]:
    explained: Sequence[ResultExplanation | None] = [None] * len(chosen.places)
    if options.explain:
        explained = explanations(live, chosen.places, chosen.stages, query, text)
    near: Sequence[float | None] = [None] * len(chosen.places)
    if options.hybrid:
        near = cosines(live, chosen.places, query).tolist()
    results = []
    for place, score, cosine, explanation in zip(chosen.places, chosen.scores, near, explained, strict=True):
        row = live.row(place)
        known = row.video_id, score, row.title, row.category, row.tags, row.extra, row.has_video
        results.append(RankedVideo(*known, cosine, explanation, row.content_hash))
    return results


def cosines(live: Live, places: Sequence[int], query: Vector) -> NDArray[np.float32]:
    """Return the cosine of each video with the unit query [dim], or with the nearest of the interests [I, dim]."""
    found_P: NDArray[np.float32] = (live.vectors(places) @ np.atleast_2d(query).T).max(axis=1)
    return found_P


def explanations(
    live: Live, places: Sequence[int], stages: Sequence[str], query: Vector, text: str | None = None
) -> list[ResultExplanation]:
    """Return for each video its stage, the cosines of the unit query with its single-modality embeddings, a passage.

    `query`: [dim], or one per interest [I, dim], of which the nearest to the video is used. `text`: its words.
    """
    queries_ID = np.atleast_2d(query)
    queries_PD = queries_ID[np.argmax(live.vectors(places) @ queries_ID.T, axis=1)]
    cosines: list[dict[Modality, float]] = [{} for _ in places]
    for modality in Modality:
        values_PD, present_P = live.modality_vectors(places, modality)
        scores_P = np.einsum("pd,pd->p", values_PD, queries_PD).round(6).tolist()
        for of_video, score, present in zip(cosines, scores_P, present_P.tolist(), strict=True):
            if present:
                of_video[modality] = score
    language = live.snapshot.words.language
    passages = [passage_of(live.transcript(place), text, language) if text else None for place in places]
    return [ResultExplanation(*found) for found in zip(stages, cosines, passages, strict=True)]


def select_diverse(
    scores_P: NDArray[np.float32], vectors_PD: NDArray[np.float32], count: int, diversity: float
) -> list[int]:
    """Select up to `count` of P candidates by maximal marginal relevance; returns them in the order of selection.

    Each step selects the candidate with the highest λ · score - (1 - λ) · its highest cosine to those already selected,
    where λ = 1 - diversity; vectors are of unit length. Source: Carbonell and Goldstein 1998, The Use of MMR.

    >>> scores_P = np.array([0.9, 0.89, 0.5], np.float32)
    >>> vectors_PD = np.array([[1, 0], [1, 0], [0, 1]], np.float32)  # the first two are alike
    >>> select_diverse(scores_P, vectors_PD, 2, diversity=0.0), select_diverse(scores_P, vectors_PD, 2, diversity=0.5)
    ([0, 1], [0, 2])
    """
    relevance_P = (1 - diversity) * np.asarray(scores_P, np.float32)
    nearest_P = np.full(len(relevance_P), -np.inf, np.float32)
    open_P = np.ones(len(relevance_P), bool)
    chosen: list[int] = []
    for _ in range(min(count, len(relevance_P))):
        # The first step has nothing to compare with: it selects the most relevant.
        marginal_P = relevance_P - diversity * nearest_P if chosen else np.asarray(scores_P, np.float32)
        best = int(np.argmax(np.where(open_P, marginal_P, -np.inf)))
        chosen.append(best)
        open_P[best] = False
        nearest_P = np.maximum(nearest_P, vectors_PD @ vectors_PD[best])
    return chosen


def required_outsiders(serendipity: float, top_k: int) -> int:
    """Return how many of `top_k` results must come from other categories: the share, rounded up."""
    return math.ceil(serendipity * top_k - 1e-9)


def with_outsiders(
    chosen: RankedCandidates, is_outsider: list[bool], others: RankedCandidates, required: int
) -> RankedCandidates:
    """Replace as few of the chosen as needed to have `required` candidates of other categories.

    `is_outsider` states for each chosen candidate whether it is of another category already. The last of those that are
    not are replaced by the best of `others` (of other categories, best first) not chosen yet, appended at the end.
    """
    available = [i for i, place in enumerate(others.places) if place not in chosen.places]
    missing = min(max(required - sum(is_outsider), 0), len(available), len(is_outsider) - sum(is_outsider))
    if not missing:
        return chosen
    at_home = [i for i, other in enumerate(is_outsider) if not other]
    replaced = set(at_home[len(at_home) - missing :])
    kept = chosen.take([i for i in range(len(is_outsider)) if i not in replaced])
    added = others.take(available[:missing])
    stages = kept.stages + ["serendipity"] * missing
    return RankedCandidates(kept.places + added.places, kept.scores + added.scores, stages)
