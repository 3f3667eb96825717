"""Settings of the tower."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator

from rayreel.encoders.config import Modality


class TowerConfig(BaseModel):
    """The architecture of a tower."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    modalities: tuple[Modality, ...] = Field(
        tuple(Modality), min_length=1, description="modalities that the tower uses; others are masked, for ablations"
    )
    dim: int = Field(512, ge=8, le=4096, description="embedding dimension; 128 to 1024 is usual")
    projection: int | None = Field(None, ge=8, le=4096, description="width of each modality's projection; unset: dim")
    pooling: Literal["mean", "max", "attention"] = Field("mean", description="pools frames and audio windows")
    fusion: Literal["gated", "concat", "attention"] = Field("gated", description="combines the modalities")
    heads: int = Field(4, ge=1, description="heads of attention fusion; must divide the projection width")
    gate_hidden: int = Field(256, ge=1, description="hidden units of the gate or, for concat, of its network")
    gate_prior: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = Field(
        (0.45, 0.1, 0.45), description="initial fusion weights of visual, audio and text"
    )
    dropout: float = Field(0.3, ge=0, lt=1, description="dropout on the standardised features during training")

    @property
    def width(self) -> int:
        """Width of each modality's projection."""
        return self.projection or self.dim

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.fusion == "attention" and self.width % self.heads:
            raise ValueError(
                f"{self.heads} heads do not divide the projection width of {self.width}. Set tower.heads to a divisor."
            )
        return self
