"""Batches of one worker, built ahead of time by a prefetch thread."""

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from rayreel.encoders.encoder import Modality
from rayreel.features.matrix import FeatureMatrix
from rayreel.tower.batch import FeatureBatch
from rayreel.tower.embed import collate
from rayreel.tower.losses.global_batch import FILLER, GlobalBatch
from rayreel.training.order import padded, positions
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.pairs.plan import PairPlan
from rayreel.training.resident import ResidentFeatures
from rayreel.training.views import draw_randomness, make_views

T = TypeVar("T")
_END: Any = object()


@dataclass(frozen=True, slots=True)
class PairBatch:
    """This worker's share of a step: two views of each pair, mined negatives if any, and ids of the global batch."""

    a: FeatureBatch
    b: FeatureBatch
    negatives: FeatureBatch | None
    global_batch: GlobalBatch

    def to(self, device: torch.device) -> "PairBatch":
        """Copy the batch to another device."""
        negatives = None if self.negatives is None else self.negatives.to(device)
        return PairBatch(self.a.to(device), self.b.to(device), negatives, self.global_batch.to(device))


@dataclass(frozen=True, slots=True)
class Batches:
    """Makes the batches of one worker.

    All random draws of a step are made for the global batch and depend on seed, epoch and step only, so that pairs
    and views are the same for any number of workers, on any device and after a restart. With `resident`, the features
    are on that device, and the batches are made there.
    """

    matrix: FeatureMatrix
    plan: PairPlan
    config: PairsConfig
    seed: int
    log_q: bool = False
    rank: int = 0
    workers: int = 1
    resident: ResidentFeatures | None = None

    def largest(self) -> dict[Modality, int]:
        """Return the largest number of vectors of each modality in any video."""
        return {m: int(self.matrix.vectors[m].counts.max(initial=0)) for m in Modality}

    def make(self, anchors_J: NDArray[np.int64], epoch: int, step: int, largest: dict[Modality, int]) -> PairBatch:
        """Return this worker's share of the step with these anchors."""
        seeds = np.random.SeedSequence([self.seed, epoch, step])
        drawn = self.plan.draw(anchors_J, np.random.default_rng(seeds))
        random = torch.Generator().manual_seed(int(seeds.generate_state(1, np.uint64)[0] >> 1))
        position_B = positions(len(anchors_J), self.rank, self.workers)
        kinds_B, draw_B = _at(drawn.kinds_J, position_B), np.maximum(position_B, 0)
        anchors_B, partners_B = _at(anchors_J, position_B), _at(drawn.partners_J, position_B)
        a = self._features(anchors_B)
        same = np.array_equal(anchors_B, partners_B)
        b = FeatureBatch(a.vectors, a.mask, a.ids_B) if same else self._features(partners_B)
        randomness = draw_randomness(largest, len(anchors_J), random).of(draw_B).to(a.ids_B.device)
        views = make_views(a, b, kinds_B, randomness, self.config)
        negatives = None if drawn.negatives_J is None else self._negatives(drawn.negatives_J, position_B)
        ids = self._global_batch(anchors_J, drawn.partners_J, drawn.negatives_J, len(position_B))
        return PairBatch(*views, negatives, ids.to(a.ids_B.device))

    def collate(self, rows: NDArray[np.int64]) -> FeatureBatch:
        """Return these rows of the matrix as a padded batch, where the features are."""
        return collate(self.matrix, rows) if self.resident is None else self.resident.collate(rows)

    def _features(self, rows_B: NDArray[np.int64]) -> FeatureBatch:
        batch = self.collate(np.maximum(rows_B, 0))
        return FeatureBatch(batch.vectors, batch.mask, torch.from_numpy(rows_B).to(batch.ids_B.device))

    def _negatives(self, negatives_JE: NDArray[np.int64], position_B: NDArray[np.int64]) -> FeatureBatch:
        each = self.config.mined_per_pair
        return self._features(_at(negatives_JE.reshape(-1, each), position_B).reshape(-1))

    def _global_batch(
        self,
        anchors_J: NDArray[np.int64],
        partners_J: NDArray[np.int64],
        negatives_JE: NDArray[np.int64] | None,
        count: int,
    ) -> GlobalBatch:
        a_ids, b_ids = padded(anchors_J, self.workers), padded(partners_J, self.workers)
        log_q = torch.from_numpy(self.plan.log_q_N[np.maximum(b_ids, 0)]) if self.log_q else None
        negative_ids = None
        if negatives_JE is not None:
            per_pair = negatives_JE.reshape(-1, self.config.mined_per_pair)
            negative_ids = torch.from_numpy(padded(per_pair, self.workers).reshape(-1))
        return GlobalBatch(
            torch.from_numpy(a_ids),
            torch.from_numpy(b_ids),
            self.rank * count,
            count,
            self.plan.alike,
            self.plan.distinct,
            log_q,
            negative_ids,
        )


def _at(values_J: NDArray[T], position_B: NDArray[np.int64]) -> NDArray[T]:  # type: ignore[type-var]
    """Values at these positions, FILLER if the position is FILLER."""
    chosen = values_J[np.maximum(position_B, 0)].copy()
    chosen[position_B == FILLER] = FILLER
    return chosen


def prefetch(items: Iterable[T], depth: int) -> Generator[T, None, None]:
    """Yield the items from a thread that runs up to `depth` items ahead; 0: without a thread.

    An exception in the thread is raised here. Leaving the loop early ends the thread.
    """
    if depth == 0:
        yield from items
        return
    iterator, pool = iter(items), ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    try:
        ahead = deque(pool.submit(next, iterator, _END) for _ in range(depth))
        while (item := ahead.popleft().result()) is not _END:
            ahead.append(pool.submit(next, iterator, _END))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)
