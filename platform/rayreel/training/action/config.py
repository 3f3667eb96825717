"""Settings of training a video network."""

from pydantic import BaseModel, ConfigDict, Field

from rayreel.encoders.trained import R2Plus1DConfig
from rayreel.media.config import SamplingConfig
from rayreel.placement import NodeLabels


class ActionConfig(BaseModel):
    """Settings of a training run other than the clips. The defaults are for a CPU."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: R2Plus1DConfig = Field(R2Plus1DConfig(), description="input and width of the network")
    windows: int = Field(
        4, ge=1, le=64, description="windows per clip, evenly spaced; training uses one at random, evaluation all"
    )
    epochs: int = Field(40, ge=1, description="passes over the training clips")
    patience: int = Field(
        15, ge=0, description="epochs without improvement before early stopping; 0: no early stopping"
    )
    batch_size: int = Field(16, ge=1, description="clips per step over all workers")
    learning_rate: float = Field(2e-3, gt=0, description="peak learning rate of AdamW")
    warmup: float = Field(0.1, gt=0, lt=1, description="share of all steps with a linear warm-up, then cosine decay")
    weight_decay: float = Field(0.05, ge=0, description="AdamW weight decay")
    clip_norm: float = Field(1.0, gt=0, description="maximum gradient norm; larger gradients are scaled down to it")
    label_smoothing: float = Field(
        0.1, ge=0, lt=1, description="label smoothing: share of a label spread evenly over all classes"
    )
    flip: bool = Field(True, description="mirror clips at random; set false if left and right distinguish classes")
    shift: float = Field(
        0.1, ge=0, lt=0.5, description="maximum random shift of clips, as a share of their side length"
    )
    workers: int = Field(2, ge=1, description="data-parallel workers; loss and gradients equal those of one process")
    cpus_per_worker: float = Field(1, gt=0, description="CPUs that each worker reserves")
    use_gpu: bool | None = Field(
        None,
        description="one GPU per worker; unset: if any GPU is free, and then with at most as many workers as GPUs",
    )
    on: NodeLabels = Field({}, description="labels of the workers' nodes; unset: any node")
    max_failures: int = Field(2, ge=0, description="restarts from the last epoch after worker failures")
    seed: int = Field(0, description="seed of weights, data order and augmentation")

    @property
    def sampling(self) -> SamplingConfig:
        """How clips are decoded: as extraction decodes for the trained network, with minimal audio."""
        return SamplingConfig(
            frames=self.windows, window=self.network.window, mode="exact", audio_windows=1, audio_window_s=0.2
        )
