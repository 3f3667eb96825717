import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from rayreel.encoders.encoder import Modality
from rayreel.tower.losses.global_batch import FILLER
from rayreel.training.batches import Batches, PairBatch, prefetch
from training_case import MIXED, batches, small_matrix

ANCHORS = np.array([5, 2, 40, 17, 33, 8, 59])


def made(many: Batches, epoch: int = 0, step: int = 0) -> PairBatch:
    return many.make(ANCHORS, epoch, step, many.largest())


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_together_see_the_pairs_and_views_of_one_process(workers: int) -> None:
    alone = batches(small_matrix(), MIXED)
    one = made(alone)
    shares = [made(replace(alone, rank=rank, workers=workers)) for rank in range(workers)]
    for side in ("a", "b"):
        ids = torch.cat([getattr(share, side).ids_B for share in shares])
        assert ids[ids != FILLER].tolist() == getattr(one, side).ids_B.tolist()
        for modality in Modality:
            shown = [getattr(share, side).mask[modality].sum(dim=1) for share in shares]
            assert torch.cat(shown)[ids != FILLER].tolist() == getattr(one, side).mask[modality].sum(dim=1).tolist()


def test_every_worker_has_the_ids_of_the_global_batch() -> None:
    alone = batches(small_matrix(), MIXED)
    shares = [made(replace(alone, rank=rank, workers=2)) for rank in range(2)]
    for share in shares:
        assert share.global_batch.a_ids_J.tolist() == torch.cat([s.a.ids_B for s in shares]).tolist()
        assert share.global_batch.b_ids_J.tolist() == torch.cat([s.b.ids_B for s in shares]).tolist()
        assert share.negatives is not None and share.global_batch.negative_ids_K is not None
        assert share.global_batch.a_ids_J[share.global_batch.own].tolist() == share.a.ids_B.tolist()
    negatives = torch.cat([share.negatives.ids_B for share in shares if share.negatives is not None])
    assert shares[0].global_batch.negative_ids_K is not None
    assert shares[0].global_batch.negative_ids_K.tolist() == negatives.tolist()


def test_draws_differ_between_steps_and_are_reproducible() -> None:
    many = batches(small_matrix(), MIXED)
    first, again = made(many), made(many)
    assert first.b.ids_B.tolist() == again.b.ids_B.tolist()
    assert torch.equal(first.a.mask[Modality.VISUAL], again.a.mask[Modality.VISUAL])
    assert {tuple(made(many, 0, step).b.ids_B.tolist()) for step in range(4)} != {tuple(first.b.ids_B.tolist())}


def test_two_views_of_one_video_share_its_features() -> None:
    batch = made(batches(small_matrix()))
    assert batch.a.vectors[Modality.VISUAL] is batch.b.vectors[Modality.VISUAL]


def test_log_q_is_set_only_if_the_loss_corrects_for_it() -> None:
    assert made(batches(small_matrix())).global_batch.log_q_J is None
    with_it = made(batches(small_matrix(), MIXED, log_q=True))
    assert (
        with_it.global_batch.log_q_J is not None
        and with_it.global_batch.log_q_J.shape == with_it.global_batch.b_ids_J.shape
    )


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_prefetching_preserves_items_and_order(depth: int) -> None:
    assert list(prefetch(iter(range(20)), depth)) == list(range(20))


def test_prefetching_is_limited_to_the_depth() -> None:
    produced: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            produced.append(item)
            yield item

    stream = prefetch(items(), 2)
    assert next(stream) == 0
    deadline = time.monotonic() + 10
    while len(produced) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(produced) == 3  # one consumed, two ahead
    stream.close()


def test_an_error_in_the_prefetch_thread_is_raised_in_the_consumer() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    stream = prefetch(items(), 2)
    assert next(stream) == 1
    with pytest.raises(ZeroDivisionError):
        next(stream)


def test_closing_early_stops_the_thread() -> None:
    stream = prefetch(iter(range(1000)), 2)
    next(stream)
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]
