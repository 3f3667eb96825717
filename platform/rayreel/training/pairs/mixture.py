"""Build the pair sources of a mixture from the data."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rayreel.encoders.encoder import Modality
from rayreel.features.matrix import FeatureMatrix
from rayreel.training.pairs.behaviour import Behaviour
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.pairs.edges import co_liked, co_watched, training_interactions
from rayreel.training.pairs.relations import LabelSets
from rayreel.training.pairs.sources import Graph, Kind, PairsImpossible, PairSource, SameLabel, SelfPairs, codes_of

_NO_PAIRS = {
    Kind.CROSS_MODAL: "no training video has text and images or audio. Extract text features",
    Kind.LABEL: "no category has two training videos. Add a `category` column to the catalog",
    Kind.CO_WATCHED: "no user watched two training videos together. Increase pairs.co_watch_window_s",
    Kind.BEHAVIOUR: "no two training videos were watched together more often than by chance. Increase "
    "pairs.co_watch_window_s",
    Kind.CO_LIKED: "no user rated two training videos with overlapping categories or tags at pairs.min_rating or "
    "higher. Lower pairs.min_rating or pairs.min_jaccard",
}


def sources_of(
    matrix: FeatureMatrix,
    in_train_N: NDArray[np.bool_],
    config: PairsConfig,
    interactions: pa.Table | None,
    labels: LabelSets | None,
    *,
    behaviour: Behaviour | None = None,
) -> dict[Kind, PairSource]:
    """Return every source with a weight, and VIEWS as the fallback of all anchors, in the order of `Kind`.

    `labels` are needed for CO_LIKED only, `behaviour` for BEHAVIOUR. Raises PairsImpossible if a source has no partner
    for any training row.
    """
    sources: dict[Kind, PairSource] = {Kind.VIEWS: SelfPairs(in_train_N)}
    if config.co_watched > 0:
        watched, rows = training_interactions(_require_interactions(interactions, Kind.CO_WATCHED), matrix, in_train_N)
        sources[Kind.CO_WATCHED] = Graph.of(co_watched(watched, rows, len(matrix), config))
    if config.cross_modal > 0:
        sources[Kind.CROSS_MODAL] = SelfPairs(in_train_N & _has_both_sides(matrix))
    if config.label > 0:
        sources[Kind.LABEL] = SameLabel.of(codes_of(matrix.rows["category"]), np.flatnonzero(in_train_N))
    if config.co_liked > 0:
        assert labels is not None
        rated, rows = training_interactions(_require_interactions(interactions, Kind.CO_LIKED), matrix, in_train_N)
        sources[Kind.CO_LIKED] = Graph.of(co_liked(_require_ratings(rated), rows, labels, config))
    if config.noise > 0:
        sources[Kind.NOISE] = SelfPairs(in_train_N)
    if config.behaviour > 0:
        assert behaviour is not None
        sources[Kind.BEHAVIOUR] = Graph.of(behaviour.edges(config))
    for kind, why in _NO_PAIRS.items():
        if kind in sources and not sources[kind].has_N().any():
            raise _impossible(kind, why)
    return sources


def behaviour_of(
    matrix: FeatureMatrix, in_train_N: NDArray[np.bool_], config: PairsConfig, table: pa.Table | None
) -> Behaviour | None:
    """Return what users were shown and watched, if a setting needs it. Raises PairsImpossible without interactions."""
    if not config.of_behaviour:
        return None
    if table is None:
        raise PairsImpossible(
            "pairs.behaviour and pairs.negatives=skipped need what users were shown and watched. Pass --interactions "
            "FILE, or set pairs.behaviour=0 and pairs.negatives=batch."
        )
    return Behaviour.of(table, matrix, in_train_N, config)


def skipped_of(behaviour: Behaviour, config: PairsConfig) -> Graph:
    """Return the videos that users passed over more often than expected. Raises PairsImpossible if there are none."""
    edges = behaviour.skipped(config)
    if edges.nnz == 0:
        raise PairsImpossible(
            "pairs.negatives is skipped, but no video was watched less than expected by users who watched another one. "
            "Pass interactions with impressions and their positions, or set pairs.negatives=batch."
        )
    return Graph.of(edges)


def watch_shares(
    matrix: FeatureMatrix, train_rows: NDArray[np.int64], interactions: pa.Table | None
) -> NDArray[np.float64]:
    """Return each training video's share of their watches [T]. Raises PairsImpossible if there are no watches."""
    in_train_N = np.isin(np.arange(len(matrix)), train_rows)
    rows = np.empty(0, np.int64) if interactions is None else training_interactions(interactions, matrix, in_train_N)[1]
    if len(rows) == 0:
        raise PairsImpossible(
            "pairs.anchors is watches, but no interaction is with a training video. Pass --interactions FILE, or set "
            "pairs.anchors=videos."
        )
    return np.bincount(rows, minlength=len(matrix))[train_rows] / len(rows)


def _has_both_sides(matrix: FeatureMatrix) -> NDArray[np.bool_]:
    """[N]: rows with text and with images or audio."""
    present = {modality: matrix.vectors[modality].counts > 0 for modality in Modality}
    both: NDArray[np.bool_] = present[Modality.TEXT] & (present[Modality.VISUAL] | present[Modality.AUDIO])
    return both


def _require_interactions(interactions: pa.Table | None, kind: Kind) -> pa.Table:
    if interactions is None:
        raise _impossible(kind, "there are no interactions. Pass --interactions FILE")
    return interactions


def _require_ratings(interactions: pa.Table) -> pa.Table:
    if interactions["rating"].null_count == len(interactions):
        reason = "no interaction with a training video has a rating. Add a `rating` column to the interactions"
        raise _impossible(Kind.CO_LIKED, reason)
    return interactions


def _impossible(kind: Kind, reason_and_remedy: str) -> PairsImpossible:
    name = f"pairs.{kind.name.lower()}"
    return PairsImpossible(f"{name} has a weight, but {reason_and_remedy}, or set {name}=0.")
