"""InfoNCE against values worked out by hand, and against itself spread over workers."""

import math
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn import functional as F

from rayreel.tower.losses import FILLER, InfoNCE
from rayreel.training.distributed import all_gather_with_grad


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_the_loss_of_two_orthogonal_videos_is_the_one_worked_out_by_hand() -> None:
    a = torch.eye(2)
    loss = InfoNCE(temperature=0.5)(a, a, torch.tensor([0, 1]))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2)))


def test_matching_views_cost_less_than_mixed_up_ones() -> None:
    a, ids = unit(8, 16), torch.arange(8)
    assert InfoNCE()(a, a, ids) < InfoNCE()(a, a.roll(1, dims=0), ids)


def test_the_same_video_twice_in_a_batch_is_no_negative_of_itself() -> None:
    a, b = unit(3, 8, seed=1), unit(3, 8, seed=2)
    twice = InfoNCE()(a[[0, 1, 2, 0]], b[[0, 1, 2, 0]], torch.tensor([0, 1, 2, 0]))
    pair = InfoNCE()
    scale = pair.log_scale.exp()
    rows = torch.tensor([0, 1, 2, 0])
    logits = scale * a[rows] @ b[rows].T
    logits[0, 3] = logits[3, 0] = -torch.inf
    expected = (F.cross_entropy(logits, torch.arange(4)) + F.cross_entropy(logits.T, torch.arange(4))) / 2
    torch.testing.assert_close(twice, expected)


def test_filler_rows_change_nothing() -> None:
    a, b, ids = unit(4, 8, seed=1), unit(4, 8, seed=2), torch.arange(4)
    filled = InfoNCE()(torch.cat([a, a[:2]]), torch.cat([b, b[2:]]), torch.cat([ids, torch.tensor([FILLER, FILLER])]))
    torch.testing.assert_close(filled, InfoNCE()(a, b, ids))


def test_the_temperature_learns() -> None:
    loss = InfoNCE()
    loss(unit(4, 8, seed=1), unit(4, 8, seed=2), torch.arange(4)).backward()
    assert loss.log_scale.grad is not None and loss.log_scale.grad.abs() > 0


def joined(rows: int) -> tuple[torch.nn.Linear, InfoNCE, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.nn.Linear(6, 4), InfoNCE(), torch.randn(rows, 6), torch.randn(rows, 6)


def gradients(net: torch.nn.Linear, loss: InfoNCE) -> list[torch.Tensor]:
    found = [net.weight.grad, net.bias.grad, loss.log_scale.grad]
    assert all(gradient is not None for gradient in found)
    return [gradient for gradient in found if gradient is not None]


def step_of_one_worker(rank: int, workers: int, rows: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=workers)
    net, loss, a, b = joined(rows)
    mine = torch.arange(rank, rows, workers)
    per_worker = -(-rows // workers)
    ids = torch.full((per_worker,), FILLER)
    ids[: len(mine)] = mine
    index = ids.clamp(min=0)
    za, zb = F.normalize(net(a[index]), dim=-1), F.normalize(net(b[index]), dim=-1)
    value = loss(za, zb, ids, all_gather_with_grad, rank=rank, workers=workers)
    value.backward()
    for gradient in gradients(net, loss):
        dist.all_reduce(gradient)
        gradient.div_(workers)
    dist.all_reduce(value.detach())
    if rank == 0:
        torch.save((value.detach() / workers, gradients(net, loss)), f"{folder}/result.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize(("workers", "rows"), [(2, 8), (2, 7), (4, 10)])
def test_a_step_of_many_workers_is_the_step_of_one(workers: int, rows: int, tmp_path: Path) -> None:
    mp.spawn(step_of_one_worker, (workers, rows, str(tmp_path)), nprocs=workers)
    value, spread = torch.load(tmp_path / "result.pt", weights_only=True)
    net, loss, a, b = joined(rows)
    alone = loss(F.normalize(net(a), dim=-1), F.normalize(net(b), dim=-1), torch.arange(rows))
    alone.backward()
    torch.testing.assert_close(value, alone.detach(), atol=1e-5, rtol=1e-5)
    for many, one in zip(spread, gradients(net, loss), strict=True):
        torch.testing.assert_close(many, one, atol=1e-5, rtol=1e-5)
