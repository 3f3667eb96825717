"""Which loss a tower is trained with."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Distance = Literal["cosine", "euclidean"]
Mining = Literal["all", "semi_hard", "hard"]


class LossConfig(BaseModel):
    """The loss and what it is set to. A setting that the chosen loss does not have is left unread."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["infonce", "supcon", "triplet", "contrastive"] = Field(
        "infonce", description="infonce; supcon: all that is alike attracts; triplet; contrastive: pair by pair"
    )
    temperature: float = Field(0.07, gt=0, description="where InfoNCE's learnable temperature starts; supcon's own")
    distance: Distance = Field("cosine", description="triplet, contrastive: 1 - cosine, or Euclidean between 0 and 2")
    margin: float | None = Field(
        None,
        ge=0,
        le=2,
        description="triplet: how much farther negatives should be (unset: 0.2, Euclidean 0.3); contrastive: the "
        "largest cosine (unset: 0) or smallest Euclidean distance (unset: 1) that two unlike videos may have",
    )
    mining: Mining = Field(
        "semi_hard", description="triplet: every negative, the nearest beyond the positive, or the nearest"
    )
    log_q: bool = Field(False, description="infonce: correct for how often a video is drawn as partner (popularity)")
