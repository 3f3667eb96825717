"""Resources of extraction on a cluster, and what happens to videos that cannot be used."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from rayreel.placement import NodeLabels


class ExtractConfig(BaseModel):
    """Block sizes, actors and resources of the extraction pipeline. Nothing here changes a feature."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    videos_per_block: int = Field(
        32, ge=1, description="videos per decode task and block, fewer in small runs; 8 frames are 1.2 MB per video"
    )
    blocks_in_flight: int = Field(
        0,
        ge=0,
        description="decoded blocks held between the stages, per node; 0: 8 or, if that is more, blocks of 96 videos "
        "per CPU of the node, and at most half of the object stores",
    )
    encoder_actors: int = Field(
        0, ge=0, description="encoder actors; 0: as many as free GPUs hold or, without GPUs, one per 2 cores"
    )
    encoder_threads: int = Field(
        1,
        ge=1,
        description="threads per encoder actor on CPUs; 2 for networks that take longer than decoding, such as those "
        "of the standard preset",
    )
    cpus_per_decode: float = Field(
        0.5,
        gt=0,
        description="CPUs reserved per decode task; each uses one thread, and more tasks than cores keep the cores "
        "busy while some wait for blocks",
    )
    memory_per_decode: int = Field(512 << 20, gt=0, description="memory reserved per decode task, bytes")
    cpus_per_encoder: float = Field(
        1,
        ge=0,
        description="CPUs reserved per encoder actor; fewer if all actors would reserve more than half of the smallest "
        "node, so that decoding continues when nodes are lost",
    )
    gpus_per_encoder: float | None = Field(
        None,
        ge=0,
        description="GPUs, whole or a fraction, reserved per encoder actor; unset: 0.5 if there are any; 0: encode on "
        "CPUs",
    )
    speech_actors: int = Field(
        0,
        ge=0,
        description="actors that recognise speech; 0: as many as free GPUs hold beside encoders or, without GPUs, one "
        "per core",
    )
    speech_threads: int = Field(1, ge=1, description="threads per actor that recognises speech on CPUs")
    cpus_per_speech: float = Field(
        0.25,
        ge=0,
        description="CPUs reserved per actor that recognises speech, fewer as of encoder actors; the default lets "
        "decoding and encoding share its core",
    )
    gpus_per_speech: float | None = Field(
        None,
        ge=0,
        description="GPUs, whole or a fraction, reserved per actor that recognises speech; unset: 0.5 if there are "
        "any; 0: recognise it on CPUs",
    )
    decode_on: NodeLabels = Field(
        {}, description="labels of the nodes that decode and write, such as {rayreel.io/pool: cpu}; unset: any node"
    )
    encode_on: NodeLabels = Field({}, description="labels of the nodes that encode; unset: any node")

    nvdec: bool = Field(
        False,
        description="decode long and large H.264, HEVC and VP9 videos, which take a CPU core more than half a second, "
        "with NVDEC on nodes that have an NVIDIA GPU; needs sampling.mode=exact or keyframe. For trusted videos only: "
        "their decoders run outside the sandbox",
    )

    text_fallback: bool = Field(
        False,
        description="also index quarantined videos by title, description and tags; they stay in quarantine and are "
        "marked as having no video",
    )

    # YAML reads the word `off` as false.
    pictures: Annotated[
        Literal["jpeg", "webp", "off"], BeforeValidator(lambda given: "off" if given is False else given)
    ] = Field(
        "jpeg",
        description="keep a poster and a contact sheet of each video, for the web page; webp is a fifth smaller and "
        "takes six times as long",
    )

    def decoding(self, cpus: float) -> dict[str, Any]:
        """Return the options of a Ray Data stage whose tasks decode, with this many CPUs each."""
        # Ray Data fuses stages with equal requests: decoding would then run inside the encoder's actors.
        return self._tasks(num_cpus=cpus, memory=self.memory_per_decode)

    def storing(self) -> dict[str, Any]:
        """Return the options of a Ray Data stage that writes."""
        return self._tasks(num_cpus=0.05)

    def _tasks(self, **reserved: float) -> dict[str, Any]:
        return {"batch_size": None, "batch_format": "pyarrow", "label_selector": self.decode_on or None, **reserved}
