"""A small training run without Ray: clusters of videos, several kinds of pairs, and workers as plain processes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import torch
import torch.distributed as dist

from feature_rows import DIMS, clusters
from rayreel.catalog.interactions import BEHAVIOUR, behaviour_schema
from rayreel.evaluation.sequences import Sequences
from rayreel.features.matrix import FeatureMatrix
from rayreel.tower.config import TowerConfig, UserTowerConfig
from rayreel.tower.losses.config import LossConfig
from rayreel.tower.losses.make import make_loss
from rayreel.tower.tower import VideoTower
from rayreel.tower.user_network import UserNetwork
from rayreel.training.batches import Batches
from rayreel.training.config import TrainConfig
from rayreel.training.distributed import world
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.pairs.plan import PairPlan
from rayreel.training.step import Learner
from rayreel.training.users.fit import WatchedNext
from rayreel.training.users.fit import gradients as user_gradients
from watching import START
from worker_processes import spawn_workers

T = TypeVar("T")

BEHAVING = PairsConfig(views=0, behaviour=1, negatives="skipped", mined_per_pair=2)
MIXED = PairsConfig(label=1, cross_modal=1, negatives="mined", mined_per_pair=2, mined_from_rank=2, mined_to_rank=12)


def small_matrix() -> FeatureMatrix:
    """Return 60 videos in four categories."""
    return clusters(categories=4, each=15)


def learner(matrix: FeatureMatrix, loss: LossConfig | None = None, dropout: float = 0.0, **train: object) -> Learner:
    """Return a new, reproducible learner."""
    torch.manual_seed(0)
    tower = VideoTower(TowerConfig(dim=16, gate_hidden=8, dropout=dropout), DIMS)
    tower.fit_inputs({modality: ragged.values for modality, ragged in matrix.vectors.items()})
    return Learner(tower, make_loss(loss or LossConfig()), TrainConfig.model_validate(train), steps=20)


def batches(matrix: FeatureMatrix, pairs: PairsConfig | None = None, *, log_q: bool = False) -> Batches:
    """Return the batches of this process's rank; mined negatives come from fixed random embeddings."""
    rows = np.arange(len(matrix))
    plan = PairPlan.of(matrix, rows, pairs or PairsConfig(), None, behaviour())
    if plan.config.negatives == "mined":
        embedding = np.random.default_rng(0).normal(size=(len(matrix), 8)).astype(np.float32)
        plan.mine(embedding / np.linalg.norm(embedding, axis=1, keepdims=True))
    return Batches(matrix, plan, plan.config, 0, log_q, *world())


def behaviour() -> pa.Table:
    """Return what 40 people were shown, in lists of four: each watches videos of one of four categories."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "user_id": f"u{user}",
            "video_id": f"v{video:03}",
            "timestamp": START,
            "type": "view" if video % 4 == user % 4 else "impression",
            "position": place % 4,
        }
        for user in range(40)
        for place, video in enumerate(rng.permutation(60)[:20])
    ]
    return pa.Table.from_pylist(rows, schema=behaviour_schema(BEHAVIOUR))


def gradients_of(learner: Learner) -> dict[str, torch.Tensor]:
    """Return the gradients by parameter name."""
    named = [*learner.tower.named_parameters(), *learner.loss.named_parameters()]
    return {name: parameter.grad.clone() for name, parameter in named if parameter.grad is not None}


def user_step(session: str, rows: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return loss and gradients of a step of the user tower on `rows` next views of ten videos."""
    rng = np.random.default_rng(0)
    begin = np.repeat(np.arange(0, 400, 20), 10)
    sequences = Sequences(
        rows_V=rng.integers(0, 10, 400),
        seconds_V=np.arange(400.0) * 3600,
        weights_V=rng.choice([0.1, 1.0, 3.0], 400).astype(np.float32),
        first_E=begin,
        last_E=begin + np.tile(np.arange(2, 12), 20),
        targets_E=rng.integers(0, 10, 200),
    )
    vectors = np.eye(10, 12, dtype=np.float32)
    torch.manual_seed(0)
    network = UserNetwork(UserTowerConfig.model_validate({"session": session, "width": 8, "heads": 2}), 12, 10)
    torch.nn.init.normal_(network.out.weight)  # zero at first, and then nothing before it has a gradient
    data = WatchedNext(sequences, vectors, np.arange(1, 11))
    loss = user_gradients(
        network, data, rng.permutation(200)[:rows], data.log_q(rows), torch.Generator().manual_seed(0)
    )
    return loss, {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def with_workers(workers: int, act: Callable[..., T], folder: Path, *words: object) -> T:
    """Run `act(*words)` in a group of `workers` processes and return the result of rank 0."""
    if workers == 1:
        return act(*words)
    spawn_workers(workers, _work, workers, act, str(folder), words)
    result: T = torch.load(folder / f"{workers}.pt", weights_only=False)
    return result


def _work(rank: int, workers: int, act: Callable[..., Any], folder: str, words: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/group{workers}", rank=rank, world_size=workers)
    result = act(*words)
    if rank == 0:
        torch.save(result, f"{folder}/{workers}.pt")
    dist.barrier()  # gloo now and then aborts in a process that leaves while others still work
    dist.destroy_process_group()
