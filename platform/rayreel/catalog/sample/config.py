"""Settings of the sample set."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class SampleConfig(BaseModel):
    """Size, seed and difficulty of the sample set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clips: int = Field(default=160, ge=1, description="Number of clips, distributed evenly over the categories.")
    categories: int = Field(default=8, ge=2, le=12, description="How many of the twelve themes to use.")
    seed: int = Field(default=0, ge=0, description="Random seed. Another seed gives other clips of the same themes.")
    easy: bool = Field(
        default=False, description="Every clip looks, sounds and reads like its category: for tests of the chain."
    )
    users: int = Field(default=400, ge=1, description="Number of simulated viewers.")
    views_per_user: int = Field(default=12, ge=1, description="Mean number of views per viewer.")
    min_seconds: float = Field(default=2.0, ge=0.5, le=60, description="Shortest clip, in seconds.")
    max_seconds: float = Field(default=3.0, ge=0.5, le=60, description="Longest clip, in seconds.")

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if self.min_seconds > self.max_seconds:
            raise ValueError("min_seconds is greater than max_seconds: lower min_seconds or raise max_seconds")
        return self
