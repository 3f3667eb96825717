"""Train the user tower data-parallel, on the workers of a Ray cluster."""

from dataclasses import dataclass

import numpy as np
import ray
from numpy.typing import NDArray
from ray.train import CheckpointConfig

from rayreel.tower.config import UserTowerConfig
from rayreel.training.job import TrainJob
from rayreel.training.trainer import run_loop
from rayreel.training.users.choose import UserChoice, choose_users


@dataclass(frozen=True, slots=True)
class UsersJob:
    """What is sent to every worker; `vectors` refers to those that a release serves, [N, D]."""

    job: TrainJob
    config: UserTowerConfig
    vectors: "ray.ObjectRef[NDArray[np.float32]]"


# Fewer views are trained on sooner than workers start.
FEWEST_SHARED = 100_000


def choose_in_parallel(
    vectors_ND: NDArray[np.float32], job: TrainJob, config: UserTowerConfig, *, name: str, fewest: int = FEWEST_SHARED
) -> UserChoice:
    """Do as `choose_users`, with the histories of each step shared by the workers of `job.train`.

    A step is the same for any number of workers. With fewer than `fewest` views, in this process. Requires a running
    Ray.
    """
    if job.interactions is None or job.interactions.num_rows < fewest or job.train.most_workers == 1:
        return choose_users(vectors_ND, job, config)
    result = run_loop(
        users_loop,
        UsersJob(job, config, ray.put(vectors_ND)),
        job.train.model_copy(update={"use_gpu": False}),
        (job.train.fewest_workers, job.train.most_workers),
        storage=job.storage,
        name=f"{name}-users",
        kept=CheckpointConfig(num_to_keep=1),
        backend="gloo",
    )
    choice = result.return_value
    assert isinstance(choice, UserChoice), "a completed run returns a choice"
    return choice


def users_loop(job: UsersJob) -> UserChoice:
    """Train and measure on one worker, as all others do; only a step's histories differ."""
    return choose_users(np.array(ray.get(job.vectors)), job.job, job.config)
