"""How extraction is spread over a cluster. Nothing here changes a feature."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from rayreel.placement import NodeLabels


class ExtractConfig(BaseModel):
    """Sizes and shares of the extraction pipeline."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    videos_per_block: int = Field(
        32, ge=1, description="videos per decode task and block, fewer in small runs; 8 frames are 1.2 MB a video"
    )
    blocks_in_flight: int = Field(
        8, ge=2, description="decoded blocks held between the stages, for each node; about 2 for each of its cores"
    )
    encoder_actors: int = Field(0, ge=0, description="encoder actors; 0: one per GPU or, without any, per 2 cores")
    encoder_threads: int = Field(
        1,
        ge=1,
        description="threads of one encoder actor where it computes on CPUs; 2 for networks that take more time than "
        "decoding, such as preset standard's",
    )
    cpus_per_decode: float = Field(
        0.5,
        gt=0,
        description="CPUs that one decode task reserves; each uses one thread, and more of them than cores "
        "keep the cores busy while some wait for blocks",
    )
    memory_per_decode: int = Field(512 << 20, gt=0, description="memory that one decode task reserves, bytes")
    cpus_per_encoder: float = Field(1, ge=0, description="CPUs that one encoder actor reserves")
    gpus_per_encoder: float | None = Field(
        None, ge=0, description="GPUs, whole or a share, that one encoder actor reserves; unset: 1 where there are any"
    )
    decode_on: NodeLabels = Field(
        {}, description="labels of the nodes that decode and write, such as {rayreel.io/pool: cpu}; unset: any node"
    )
    encode_on: NodeLabels = Field({}, description="labels of the nodes that encode; unset: any node")

    def decoding(self) -> dict[str, Any]:
        """Options of a Ray Data stage that decodes."""
        # Stages of equal requests are fused: decoding would run inside the encoder's actors, not beside them.
        return self._tasks(num_cpus=self.cpus_per_decode, memory=self.memory_per_decode)

    def storing(self) -> dict[str, Any]:
        """Options of a Ray Data stage that writes."""
        return self._tasks(num_cpus=0.05)

    def _tasks(self, **reserved: float) -> dict[str, Any]:
        return {"batch_size": None, "batch_format": "pyarrow", "label_selector": self.decode_on or None, **reserved}
