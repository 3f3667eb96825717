"""The simulated cluster: its nodes, and what goes wrong on them."""

import math

from pydantic import BaseModel, ConfigDict, Field

from rayreel.features.config import ExtractConfig


class ClusterConfig(BaseModel):
    """Nodes, and what goes wrong on them. The cluster has CPU nodes, and GPUs beside them where there are any.

    The defaults of what goes wrong are assumptions, in the order of what spot instances of large clouds show; your own
    cluster's events know better.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    nodes: int = Field(1, ge=1, description="CPU nodes")
    cores: float = Field(8, gt=0, description="cores of a CPU node")
    decode_slots: int = Field(8, ge=1, description="decode tasks that a CPU node runs at once, sharing its cores")
    encoders: int = Field(4, ge=0, description="encoder actors of a CPU node; 0 where GPUs encode")
    gpus: int = Field(0, ge=0, description="GPUs of the cluster, an encoder actor on each, a node each")
    gpu_speed: float = Field(1, gt=0, description="encoding on a GPU is so many times as fast as it was measured")
    blocks_in_flight: int = Field(8, ge=1, description="blocks between the start of decoding and the end of encoding")
    start_s: float = Field(0, ge=0, description="until an encoder actor has loaded its networks, seconds")
    warm_nodes: int = Field(1, ge=0, description="nodes, CPU and GPU ones each, that need no autoscaling")
    autoscale_s: float = Field(0, ge=0, description="until the other nodes are there, seconds")
    mtbf_h: float = Field(math.inf, gt=0, description="mean time between losses of one node, hours")
    replace_s: float = Field(0, ge=0, description="until a lost node has been replaced, seconds")
    straggling: float = Field(0, ge=0, le=1, description="share of blocks that take `slower` times as long to decode")
    slower: float = Field(1, ge=1, description="how much longer these take")
    shared_driver: bool = Field(False, description="the driver's work is done on the nodes, not on a core of its own")

    @property
    def all_cores(self) -> float:
        """Cores of all CPU nodes."""
        return self.nodes * self.cores


def one_node(extract: ExtractConfig, cores: int, gpus: int, gpu_speed: float) -> ClusterConfig:
    """A CPU node (and so many GPUs beside it) as the pipeline uses it: an encoder per GPU or, without any, per 2 cores.

    Decode tasks take the CPUs that encoders leave.
    """
    encoders = 0 if gpus else max(1, cores // 2)
    slots = int((cores - encoders * extract.cpus_per_encoder) / extract.cpus_per_decode)
    return ClusterConfig(
        cores=cores,
        decode_slots=max(1, slots),
        encoders=encoders,
        gpus=gpus,
        gpu_speed=gpu_speed,
        blocks_in_flight=extract.blocks_in_flight,
    )
