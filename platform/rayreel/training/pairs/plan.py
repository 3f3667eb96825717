"""The pair plan: draws a source, a partner and mined negatives for each anchor of a step."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from rayreel.features.matrix import FeatureMatrix
from rayreel.tower.losses.global_batch import FILLER, Relation
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.pairs.mixture import behaviour_of, skipped_of, sources_of, watch_shares
from rayreel.training.pairs.relations import Alike, Distinct, LabelSets
from rayreel.training.pairs.sources import NONE, Graph, Kind, PairsImpossible, PairSource, codes_of

T = TypeVar("T", bound=np.generic)
_CPU = torch.device("cpu")
_CELLS_AT_ONCE = 2**23  # 32 MB of scores


@dataclass(frozen=True, slots=True)
class DrawnPairs:
    """Partners and negatives of the J anchors of a step; FILLER for an anchor that is FILLER.

    partners_J: row numbers. kinds_J: the source of each pair, a `Kind`. negatives_J: [J · E], E = `mined_per_pair`
    explicit negatives per anchor, so those of anchors first .. last are at first · E .. last · E; FILLER if there is
    none; None if negatives are those of the batch.
    """

    partners_J: NDArray[np.int64]
    kinds_J: NDArray[np.int8]
    negatives_J: NDArray[np.int64] | None


@dataclass(slots=True)
class PairPlan:
    """Draws pairs. All ids are row numbers of the matrix, and all drawn rows are training rows.

    An epoch has every training video once as an anchor or, with `anchor_T`, as many drawn by these probabilities.
    Each anchor draws a source by weight from those that have a partner for it, and VIEWS if none has.
    alike: same video, same file, or positives of the sources with a weight. distinct: which videos may be negatives of
    each other; None: all that are not alike. log_q_N: log probability that a row is the partner of a random training
    anchor, for the logQ correction (finite for rows that are never drawn). position_N: position among the T training
    rows, NONE for others. cumulative_TK: cumulative probability of each source. mined_TR: mined negatives, None until
    `mine`; part of a checkpoint within an epoch. skipped: what negatives are drawn from instead, if configured.
    """

    train_rows: NDArray[np.int64]
    config: PairsConfig
    sources: dict[Kind, PairSource]
    position_N: NDArray[np.int64]
    cumulative_TK: NDArray[np.float64]
    alike: Relation
    distinct: Relation | None
    log_q_N: NDArray[np.float32]
    anchor_T: NDArray[np.float64] | None = None
    mined_TR: NDArray[np.int32] | None = None
    skipped: Graph | None = None

    @staticmethod
    def of(
        matrix: FeatureMatrix,
        train_rows: NDArray[np.int64],
        config: PairsConfig,
        interactions: pa.Table | None,
        behaviour: pa.Table | None = None,
        *,
        labels_matter: bool = False,
    ) -> "PairPlan":
        """Build the plan of a mixture. With `labels_matter`, videos of one category are alike for any mixture.

        `interactions` and `behaviour`, with the columns of `catalog.interactions.BEHAVIOUR`, must be limited to the
        training period; rows with videos outside `train_rows` are ignored.
        Raises PairsImpossible if a source with a weight has no pairs.
        """
        if config.negatives == "mined" and len(train_rows) <= config.mined_from_rank + 1:
            raise PairsImpossible(
                f"pairs.negatives is mined, but {len(train_rows)} training videos are too few to leave out the nearest "
                f"{config.mined_from_rank}. Lower pairs.mined_from_rank or set pairs.negatives=batch."
            )
        position_N = np.full(len(matrix), NONE)
        position_N[train_rows] = np.arange(len(train_rows))
        labels = LabelSets.of(matrix.column("category"), matrix.column("tags")) if config.co_liked > 0 else None
        shown = behaviour_of(matrix, position_N != NONE, config, behaviour)
        sources = sources_of(matrix, position_N != NONE, config, interactions, labels, behaviour=shown)
        chance_TK = _chances(sources, train_rows, config)
        anchor_T = watch_shares(matrix, train_rows, interactions) if config.anchors == "watches" else None
        codes = [codes_of(matrix.rows["content_hash"])]
        if labels_matter or config.label > 0:
            codes.append(codes_of(matrix.rows["category"]))
        return PairPlan(
            train_rows,
            config,
            sources,
            position_N,
            np.cumsum(chance_TK, axis=1),
            Alike(codes, [source.weights for source in sources.values() if isinstance(source, Graph)]),
            None if labels is None else Distinct(labels, config.max_jaccard_negative),
            _log_q(sources, train_rows, chance_TK, anchor_T, len(matrix)),
            anchor_T,
            skipped=skipped_of(shown, config) if shown is not None and config.negatives == "skipped" else None,
        )

    def draw(self, anchors_J: NDArray[np.int64], rng: np.random.Generator) -> DrawnPairs:
        """Draw pairs for these anchors, which are training rows or FILLER.

        Fillers consume no random numbers: the same anchors draw the same pairs with any padding.
        """
        real_J = anchors_J != FILLER
        anchors = anchors_J[real_J]
        if (self.position_N[anchors] == NONE).any():
            raise ValueError("anchors must be training rows")
        kinds, partners = self._pairs(anchors, rng)
        per_pair = self.config.mined_per_pair
        negatives = None if self.config.negatives == "batch" else self._negatives(anchors, rng).reshape(-1)
        return DrawnPairs(
            _padded(partners, real_J),
            _padded(kinds, real_J),
            None if negatives is None else _padded(negatives, np.repeat(real_J, per_pair)),
        )

    def mine(self, embeddings_ND: NDArray[np.float32], device: torch.device = _CPU) -> None:
        """Mine negatives from the current unit embeddings of all rows [N, D], as in `mining.mine`."""
        self.mined_TR = mine(embeddings_ND, self.train_rows, self.alike, self.distinct, self.config, device=device)

    def _pairs(
        self, anchors: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
        cumulative_JK = self.cumulative_TK[self.position_N[anchors]]
        # Scaled to end at exactly 1, so that no number exceeds it and a source without a partner is never drawn.
        chosen_J = (rng.random((len(anchors), 1)) >= cumulative_JK / cumulative_JK[:, -1:]).sum(axis=1)
        kinds = np.array(list(self.sources), dtype=np.int8)[chosen_J]
        partners = anchors.copy()
        for kind, source in self.sources.items():
            partners[kinds == kind] = source.partners(anchors[kinds == kind], rng)
        return kinds, partners

    def _negatives(self, anchors: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """[J, E]: explicit negatives of each anchor, drawn with replacement; FILLER if it has none."""
        per_pair = self.config.mined_per_pair
        if self.skipped is not None:
            return self.skipped.partners(np.repeat(anchors, per_pair), rng).reshape(-1, per_pair)
        if self.mined_TR is None:
            return np.full((len(anchors), per_pair), FILLER)
        mined_JR = self.mined_TR[self.position_N[anchors]].astype(np.int64)
        count_J1 = (mined_JR != FILLER).sum(axis=1, keepdims=True)
        return np.take_along_axis(mined_JR, (rng.random((len(anchors), per_pair)) * count_J1).astype(np.int64), axis=1)


def _chances(
    sources: dict[Kind, PairSource], train_rows: NDArray[np.int64], config: PairsConfig
) -> NDArray[np.float64]:
    """[T, K]: probability that a training row draws each source."""
    weight_K = np.array([getattr(config, kind.name.lower()) for kind in sources], dtype=np.float64)
    weight_TK = np.stack([source.has_N()[train_rows] for source in sources.values()], axis=1) * weight_K
    weight_TK[weight_TK.sum(axis=1) == 0, list(sources).index(Kind.VIEWS)] = 1
    chances: NDArray[np.float64] = weight_TK / weight_TK.sum(axis=1, keepdims=True)
    return chances


def _log_q(
    sources: dict[Kind, PairSource],
    train_rows: NDArray[np.int64],
    chance_TK: NDArray[np.float64],
    anchor_T: NDArray[np.float64] | None,
    count: int,
) -> NDArray[np.float32]:
    """[N]: log q, exact because all probabilities are known; Yi et al. 2019 estimate it from a stream."""
    share_T = np.full(len(train_rows), 1 / len(train_rows)) if anchor_T is None else anchor_T
    drawn_N = np.zeros(count)
    for place, source in enumerate(sources.values()):
        weight_N = np.zeros(count)
        weight_N[train_rows] = chance_TK[:, place] * share_T
        drawn_N += source.partner_frequency(weight_N)
    return np.log(np.maximum(drawn_N, np.finfo(np.float32).tiny)).astype(np.float32)


def _padded(values: NDArray[T], real: NDArray[np.bool_]) -> NDArray[T]:
    """The values where `real`, FILLER elsewhere."""
    padded = np.full(len(real), FILLER, dtype=values.dtype)
    padded[real] = values
    return padded


def mine(
    embeddings_ND: NDArray[np.float32],
    rows_T: NDArray[np.int64],
    alike: Relation,
    distinct: Relation | None,
    config: PairsConfig,
    *,
    device: torch.device,
) -> NDArray[np.int32]:
    """Return each row's nearest negatives from `mined_from_rank` to `mined_to_rank`, nearest first: [T, ranks].

    Candidates are those of `rows_T` that are not alike and, with `distinct`, are distinct, ranked by cosine (unit
    embeddings); FILLER if there are fewer. Scores are computed for a few rows at a time to bound memory.
    Source: Xiong et al. 2021 (ANCE); the very nearest are left out as in Qu et al. 2021 (RocketQA), because many of
    them are unlabelled positives.
    """
    all_TD = torch.from_numpy(embeddings_ND[rows_T]).to(device)
    ids_T = torch.from_numpy(rows_T).to(device)
    width = config.mined_to_rank - config.mined_from_rank
    mined_TR = np.full((len(rows_T), width), FILLER, dtype=np.int32)
    chunk = max(1, _CELLS_AT_ONCE // max(1, len(rows_T)))
    for first in range(0, len(rows_T), chunk):
        own = slice(first, first + chunk)
        excluded = alike(ids_T[own], ids_T)
        if distinct is not None:
            excluded |= ~distinct(ids_T[own], ids_T)
        nearest = _nearest((all_TD[own] @ all_TD.T).masked_fill_(excluded, -torch.inf), ids_T, config)
        mined_TR[own, : nearest.shape[1]] = nearest.cpu().numpy()
    return mined_TR


def _nearest(score_XT: Tensor, ids_T: Tensor, config: PairsConfig) -> Tensor:
    """[X, ranks]: ids by descending score between the two ranks, FILLER where the score is -inf."""
    top = score_XT.topk(min(config.mined_to_rank, score_XT.shape[1]), dim=1)
    ids = ids_T[top.indices].masked_fill(top.values == -torch.inf, FILLER)
    return ids[:, config.mined_from_rank :]
