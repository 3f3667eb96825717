"""How a video network is trained."""

from pydantic import BaseModel, ConfigDict, Field

from rayreel.encoders.trained import R2Plus1DConfig
from rayreel.media.config import SamplingConfig
from rayreel.placement import NodeLabels


class ActionConfig(BaseModel):
    """Everything that decides a training run besides the clips. The defaults are for a CPU."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: R2Plus1DConfig = Field(R2Plus1DConfig(), description="what the network looks at, and how wide it is")
    windows: int = Field(
        4, ge=1, le=64, description="windows per clip, at uniform times: training takes any, measuring all"
    )
    epochs: int = Field(40, ge=1, description="passes over the training clips")
    patience: int = Field(15, ge=0, description="epochs without a better validation before training ends; 0: never")
    batch_size: int = Field(16, ge=1, description="clips per step over all workers")
    learning_rate: float = Field(2e-3, gt=0, description="AdamW step size at its highest")
    warmup: float = Field(0.1, gt=0, lt=1, description="share of the steps in which the step size rises; then a cosine")
    weight_decay: float = Field(0.05, ge=0, description="AdamW weight decay")
    clip_norm: float = Field(1.0, gt=0, description="largest norm of a step's gradient")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="share of a label given to all classes alike")
    flip: bool = Field(True, description="mirror clips by chance; false where left and right tell classes apart")
    shift: float = Field(0.1, ge=0, lt=0.5, description="farthest that clips are moved by chance, share of their side")
    workers: int = Field(2, ge=1, description="data-parallel workers; loss and gradients are those of one process")
    cpus_per_worker: float = Field(1, gt=0, description="CPUs that each worker reserves")
    use_gpu: bool | None = Field(None, description="one GPU per worker; unset: when the cluster has one for each")
    on: NodeLabels = Field({}, description="labels of the nodes that workers run on; unset: any node")
    max_failures: int = Field(2, ge=0, description="restarts from the last epoch after a lost worker")
    seed: int = Field(0, description="for weights, order and what is left to chance")

    @property
    def sampling(self) -> SamplingConfig:
        """How clips are decoded: as extraction does it for the trained network, and next to no sound."""
        return SamplingConfig(
            frames=self.windows, window=self.network.window, mode="exact", audio_windows=1, audio_window_s=0.2
        )
