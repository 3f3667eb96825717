"""Settings of the tower."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator

from rayreel.encoders.modality import Modality


class TowerConfig(BaseModel):
    """The shape of a tower."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    modalities: tuple[Modality, ...] = Field(
        tuple(Modality), min_length=1, description="what the tower looks at; the rest is as if absent, for ablations"
    )
    dim: int = Field(512, ge=8, le=4096, description="length of the embedding; 128 to 1024 is usual")
    projection: int | None = Field(None, ge=8, le=4096, description="width of a projected modality; unset: dim")
    pooling: Literal["mean", "max", "attention"] = Field("mean", description="frames and windows of sound to one")
    fusion: Literal["gated", "concat", "attention"] = Field("gated", description="modalities to one")
    heads: int = Field(4, ge=1, description="heads of attention fusion; they divide the width of a projected modality")
    gate_hidden: int = Field(256, ge=1, description="hidden units of the fusion's gate or, with concat, its network")
    gate_prior: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = Field(
        (0.45, 0.1, 0.45), description="share of visual, audio and text before training has learned better"
    )
    dropout: float = Field(0.3, ge=0, lt=1, description="dropout on the standardised features, in training only")

    @property
    def width(self) -> int:
        """Width of a projected modality."""
        return self.projection or self.dim

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.fusion == "attention" and self.width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide a width of {self.width}: set tower.heads to a divisor")
        return self
