"""How a tower is trained."""

from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from rayreel.placement import NodeLabels


class Ingest(StrEnum):
    """Where workers read features from."""

    AUTO = "auto"
    MEMORY = "memory"
    MAPPED = "mapped"


class Precision(StrEnum):
    """What the tower computes in; losses, gradients and weights are fp32 in all of them."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


class Schedule(StrEnum):
    """How the learning rate goes on after the warm-up."""

    COSINE = "cosine"
    CONSTANT = "constant"


class Select(StrEnum):
    """What an epoch is judged by, on validation."""

    AUTO = "auto"
    CATEGORY = "category"
    TAGS = "tags"
    CO_WATCH = "co_watch"
    USERS = "users"


class TrainConfig(BaseModel):
    """Everything that decides a training run besides the data, the pairs, the loss and the tower's shape."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(20, ge=1, description="passes over the training videos")
    batch_size: int = Field(128, ge=2, description="videos per step over all workers: more negatives with more videos")
    micro_batch: int | None = Field(
        None, ge=1, description="videos of a worker that pass the tower at once (GradCache); unset: all of its share"
    )
    learning_rate: float = Field(3e-4, gt=0, description="AdamW step size after the warm-up")
    schedule: Schedule = Field(Schedule.COSINE, description="learning rate after the warm-up: cosine to 0, or constant")
    warmup: float = Field(0.05, ge=0, le=1, description="share of all steps in which the learning rate rises from 0")
    weight_decay: float = Field(0.01, ge=0, description="AdamW weight decay, of matrices only")
    clip_norm: float = Field(1.0, gt=0, description="longest gradient of a step; longer ones are shortened to it")
    precision: Precision = Field(
        Precision.AUTO, description="what the tower computes in: auto is bf16 where a GPU has it, fp32 elsewhere"
    )
    patience: int = Field(0, ge=0, description="epochs without a better validation score before it ends; 0: all epochs")
    select: Select = Field(
        Select.AUTO, description="what the best epoch is chosen by; auto: category, else tags, else users' next video"
    )
    validation_videos: int = Field(
        20_000, ge=16, description="videos at most that an epoch is judged on: all of them, or a fixed random part"
    )
    diverged_at: float = Field(
        5.0, gt=1, description="a smoothed loss this many times its first value ends the run as diverging"
    )
    workers: int | str = Field(
        2, description="data-parallel workers: 2, or 1:4 for as many as the cluster has room for, changing as it does"
    )
    cpus_per_worker: float = Field(1, gt=0, description="CPUs that each worker reserves")
    use_gpu: bool | None = Field(None, description="one GPU per worker; unset: when the cluster has one for each")
    device: Literal["auto", "cpu"] = Field(
        "auto", description="what a worker computes on; auto: on its GPU, where it reserves one; cpu: never on a GPU"
    )
    on: NodeLabels = Field(
        {}, description="labels of the nodes that workers run on, such as {rayreel.io/pool: gpu}; unset: any node"
    )
    ingest: Ingest = Field(
        Ingest.AUTO,
        description="features in each worker's memory, or mapped from one copy on each machine's disk; auto: by size",
    )
    scratch: Path | None = Field(None, description="folder for the mapped copy; unset: the system's temporary folder")
    prefetch: int = Field(2, ge=0, description="steps that are made ready while one is computed")
    checkpoint_steps: int = Field(0, ge=0, description="checkpoint every so many steps too; 0: after each epoch only")
    keep_checkpoints: int = Field(3, ge=1, description="best checkpoints that stay on disk, the newest besides")
    max_failures: int = Field(2, ge=0, description="restarts from the last checkpoint after a lost worker")
    seed: int = Field(0, description="for weights, order, pairs and views")

    @field_validator("workers")
    @classmethod
    def _count_or_range(cls, value: int | str) -> int | str:
        fewest, colon, most = str(value).partition(":")
        most = most if colon else fewest
        if not (fewest.isdecimal() and most.isdecimal()):
            raise ValueError("expected a number such as 2, or a range such as 1:4")
        if not 1 <= int(fewest) <= int(most):
            raise ValueError("expected at least one worker, and a range that rises")
        return value if colon else int(fewest)

    @property
    def fewest_workers(self) -> int:
        """Training does not start with fewer."""
        return int(str(self.workers).partition(":")[0])

    @property
    def most_workers(self) -> int:
        """Training never uses more."""
        return int(str(self.workers).rpartition(":")[2])
