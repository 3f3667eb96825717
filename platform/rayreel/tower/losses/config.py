"""The loss of a tower."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Distance = Literal["cosine", "euclidean"]
Mining = Literal["all", "semi_hard", "hard"]


class LossConfig(BaseModel):
    """The loss and its settings. Settings that the chosen loss does not have are ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["infonce", "supcon", "triplet", "contrastive"] = Field(
        "infonce", description="infonce; supcon: all similar videos are positives; triplet; contrastive: pair by pair"
    )
    temperature: float = Field(0.07, gt=0, description="infonce: initial value, learned; supcon: fixed value")
    distance: Distance = Field("cosine", description="triplet, contrastive: 1 - cosine, or Euclidean between 0 and 2")
    margin: float | None = Field(
        None,
        ge=0,
        le=2,
        description="triplet: how much farther negatives should be than the partner (unset: 0.2, Euclidean 0.3); "
        "contrastive: largest cosine (unset: 0) or smallest Euclidean distance (unset: 1) of a negative pair without "
        "loss",
    )
    mining: Mining = Field(
        "semi_hard",
        description="triplet: all negatives, the nearest that is farther than the partner, or the nearest",
    )
    log_q: bool = Field(False, description="infonce: correct for how often a video is drawn as a partner (popularity)")
