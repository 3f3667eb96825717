"""Settings of tower training."""

from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from rayreel.placement import NodeLabels


class Ingest(StrEnum):
    """How workers read features."""

    AUTO = "auto"
    MEMORY = "memory"
    MAPPED = "mapped"


class Precision(StrEnum):
    """Precision of the tower's forward pass; losses, gradients and weights are always fp32."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


class Schedule(StrEnum):
    """Learning-rate schedule after the warm-up."""

    COSINE = "cosine"
    CONSTANT = "constant"


class Select(StrEnum):
    """The validation task by which the best epoch is selected."""

    AUTO = "auto"
    CATEGORY = "category"
    TAGS = "tags"
    CO_WATCH = "co_watch"
    USERS = "users"
    VIEWS = "views"


class TrainConfig(BaseModel):
    """Settings of a training run other than data, pairs, loss and tower architecture."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Literal["auto", "tower", "frozen", "probe", "words", "best"] = Field(
        "auto",
        description="auto: train a network with pairs, loss and learning rate chosen from the data, if `pairs` and "
        "`loss` have their defaults, or frozen if there are neither categories nor interactions to learn from; tower: "
        "train it exactly as set; frozen: register the encoders' features without training, with the settings of "
        "`frozen`; probe: these beside the scores of a classifier of the categories; words: TF-IDF of title, "
        "description, tags and transcript, of features by encoders.preset=words; best: register frozen, probe and "
        "auto, and make the one with the best validation score the challenger",
    )
    refit: bool = Field(
        True,
        description="train again on training and validation videos, for as many epochs as gave the best validation "
        "score; test videos stay unseen",
    )
    epochs: int = Field(20, ge=1, description="passes over the training videos")
    batch_size: int = Field(
        128, ge=2, description="global batch size, over all workers; more videos mean more negatives"
    )
    micro_batch: int | None = Field(
        None, ge=1, description="videos per worker in one forward pass (GradCache); unset: the worker's whole share"
    )
    learning_rate: float = Field(3e-4, gt=0, description="AdamW learning rate after the warm-up")
    schedule: Schedule = Field(
        Schedule.COSINE, description="learning rate after the warm-up: cosine decay to 0, or constant"
    )
    warmup: float = Field(0.05, ge=0, le=1, description="share of all steps with a linear warm-up of the learning rate")
    weight_decay: float = Field(0.01, ge=0, description="AdamW weight decay, applied to matrices only")
    clip_norm: float = Field(1.0, gt=0, description="maximum gradient norm; larger gradients are scaled down to it")
    precision: Precision = Field(
        Precision.AUTO, description="precision of the forward pass; auto: bf16 on GPUs that support it, else fp32"
    )
    patience: int = Field(0, ge=0, description="epochs without improvement before early stopping; 0: no early stopping")
    select: Select = Field(
        Select.AUTO,
        description="validation task that selects the best epoch; auto: users if pairs come from interactions, else "
        "the first of category, tags, users and views (find a video by other moments of it) that the data allow",
    )
    validation_videos: int = Field(
        20_000, ge=16, description="maximum number of videos in validation; a fixed random sample of larger catalogs"
    )
    diverged_at: float = Field(
        5.0, gt=1, description="a smoothed loss this many times its initial value ends the run as diverged"
    )
    workers: int | str = Field(
        2, description="data-parallel workers: a number such as 2, or a range such as 1:4 that follows the cluster size"
    )
    cpus_per_worker: float = Field(1, gt=0, description="CPUs that each worker reserves")
    use_gpu: bool | None = Field(
        None,
        description="one GPU per worker; unset: if any GPU is free, and then with at most as many workers as GPUs",
    )
    device: Literal["auto", "cpu"] = Field(
        "auto", description="device of a worker; auto: the GPU if it reserves one, else the CPU; cpu: always the CPU"
    )
    on: NodeLabels = Field(
        {}, description="labels of the workers' nodes, such as {rayreel.io/pool: gpu}; unset: any node"
    )
    ingest: Ingest = Field(
        Ingest.AUTO,
        description="features in each worker's memory, or memory-mapped from one copy per machine; auto: by size",
    )
    scratch: Path | None = Field(
        None, description="folder for the mapped copy; unset: below the system's temporary folder"
    )
    prefetch: int = Field(2, ge=0, description="batches prepared in advance")
    checkpoint_steps: int = Field(
        0, ge=0, description="steps between checkpoints within an epoch; 0: after each epoch only"
    )
    keep_checkpoints: int = Field(3, ge=1, description="best checkpoints kept on disk, in addition to the newest")
    max_failures: int = Field(2, ge=0, description="restarts from the last checkpoint after worker failures")
    seed: int = Field(0, description="seed of weights, data order, pairs and views")

    @field_validator("workers")
    @classmethod
    def _count_or_range(cls, value: int | str) -> int | str:
        fewest, colon, most = str(value).partition(":")
        most = most if colon else fewest
        if not (fewest.isdecimal() and most.isdecimal()):
            raise ValueError("expected a number such as 2 or a range such as 1:4")
        if not 1 <= int(fewest) <= int(most):
            raise ValueError("expected at least one worker, and a range whose maximum is not below its minimum")
        return value if colon else int(fewest)

    @property
    def fewest_workers(self) -> int:
        """Minimum number of workers; training waits for them."""
        return int(str(self.workers).partition(":")[0])

    @property
    def most_workers(self) -> int:
        """Maximum number of workers."""
        return int(str(self.workers).rpartition(":")[2])
