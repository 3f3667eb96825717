"""Every loss, distributed over workers, has the value and gradients of one process."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from rayreel.tower.losses.config import LossConfig
from rayreel.tower.losses.global_batch import FILLER, Gather, GlobalBatch, Relation, identity, same_video
from rayreel.tower.losses.make import make_loss
from rayreel.training.distributed import all_gather_with_grad
from worker_processes import spawn_workers

WIDTH = 6


def alike(x: Tensor, y: Tensor) -> Tensor:
    return x.unsqueeze(1) // 2 == y // 2


def distinct(x: Tensor, y: Tensor) -> Tensor:
    return (x.unsqueeze(1) - y).abs() != 3


@dataclass(frozen=True)
class Case:
    config: LossConfig
    alike: Relation = same_video
    distinct: Relation | None = None
    negatives: int = 0
    log_q: bool = False


CASES = {
    "infonce": Case(LossConfig()),
    "infonce with everything": Case(LossConfig(log_q=True), alike, distinct, negatives=5, log_q=True),
    "supcon": Case(LossConfig(kind="supcon"), alike),
    "supcon with negatives": Case(LossConfig(kind="supcon"), alike, distinct, negatives=5),
    "contrastive cosine": Case(LossConfig(kind="contrastive"), alike, distinct, negatives=5),
    "contrastive euclidean": Case(LossConfig(kind="contrastive", distance="euclidean", margin=1.5), negatives=5),
    "triplet all": Case(LossConfig(kind="triplet", mining="all"), alike, distinct, negatives=5),
    "triplet semi-hard": Case(LossConfig(kind="triplet", mining="semi_hard"), alike, negatives=5),
    "triplet hard euclidean": Case(LossConfig(kind="triplet", mining="hard", distance="euclidean"), negatives=5),
    "triplet without an active one": Case(LossConfig(kind="triplet", mining="hard", margin=0.0), negatives=5),
}


def padded(ids: Tensor, size: int) -> Tensor:
    return F.pad(ids, (0, size - len(ids)), value=FILLER)


def step(case: Case, rows: int, *, rank: int = 0, workers: int = 1, gather: Gather = identity) -> list[Tensor]:
    """This worker's share of the loss, then the gradient of every parameter."""
    torch.manual_seed(0)
    net, loss = nn.Linear(WIDTH, 4), make_loss(case.config)
    x = torch.randn(3, 16, WIDTH)
    count, extra = -(-rows // workers), -(-case.negatives // workers)
    a_ids = padded(torch.arange(rows), count * workers)
    b_ids = padded((torch.arange(rows) + 2 * (torch.arange(rows) % 3 == 0)) % 16, count * workers)
    negative_ids = padded(torch.arange(16 - case.negatives, 16), extra * workers)
    log_q = F.pad(torch.linspace(-4, -1, rows), (0, len(a_ids) - rows)) if case.log_q else None
    batch = GlobalBatch(a_ids, b_ids, rank * count, count, case.alike, case.distinct, log_q, negative_ids)
    own, own_extra = batch.own, slice(rank * extra, (rank + 1) * extra)
    shown = [
        F.normalize(net(side[ids]), dim=1)
        for side, ids in zip(x, (a_ids[own], b_ids[own], negative_ids[own_extra]), strict=True)
    ]
    share = loss(shown[0], shown[1], batch, gather, shown[2] if case.negatives else None)
    share.backward()
    return [share.detach(), *(p.grad for p in [*net.parameters(), *loss.parameters()])]


ROWS = {1: (7,), 2: (8, 7), 4: (10, 5)}


def all_cases_of_one_worker(rank: int, workers: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=workers)
    results = {}
    for name, case in CASES.items():
        for rows in ROWS[workers]:
            found = step(case, rows, rank=rank, workers=workers, gather=all_gather_with_grad)
            for x in found:
                dist.all_reduce(x)
            results[f"{name}, {rows} rows"] = found
    if rank == 0:
        torch.save(results, f"{folder}/results.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("workers", ROWS)
def test_losses_and_gradients_summed_over_workers_equal_those_of_one_process(workers: int, tmp_path: Path) -> None:
    """Seven rows are uneven for two workers and ten for four; with five rows the fourth worker has only fillers."""
    spawn_workers(workers, all_cases_of_one_worker, workers, str(tmp_path))
    together = torch.load(tmp_path / "results.pt", weights_only=True)
    for name, case in CASES.items():
        for rows in ROWS[workers]:
            for many, one in zip(together[f"{name}, {rows} rows"], step(case, rows), strict=True):
                assert (many - one).abs().max() <= 1e-5 * max(1.0, float(one.abs().max())), (name, rows)
