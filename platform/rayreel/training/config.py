"""How a tower is trained."""

from pydantic import BaseModel, ConfigDict, Field


class TrainConfig(BaseModel):
    """Everything that decides a training run besides the data and the tower's shape."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(20, ge=1, description="passes over the training videos")
    batch_size: int = Field(128, ge=2, description="videos per step over all workers: more negatives with more videos")
    learning_rate: float = Field(3e-4, gt=0, description="AdamW step size")
    weight_decay: float = Field(0.01, ge=0, description="AdamW weight decay")
    temperature: float = Field(0.07, gt=0, description="where InfoNCE's learnable temperature starts")
    modality_dropout: float = Field(0.3, ge=0, lt=1, description="chance that a view loses a modality it has")
    workers: int = Field(2, ge=1, description="data-parallel workers; loss and gradients are those of one process")
    cpus_per_worker: float = Field(1, gt=0, description="CPUs that each worker reserves")
    use_gpu: bool | None = Field(None, description="one GPU per worker; unset: when the cluster has one for each")
    max_failures: int = Field(2, ge=0, description="restarts from the last checkpoint after a lost worker")
    keep_checkpoints: int = Field(3, ge=1, description="best checkpoints that stay on disk")
    seed: int = Field(0, description="for weights, order and views")
