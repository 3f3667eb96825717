"""Settings of the training pairs."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rayreel.evaluation.config import MODALITY_DROPOUT

DAY_S = 24 * 3600.0


# The settings that are weights of pair sources.
SOURCES = ("views", "co_watched", "cross_modal", "label", "co_liked", "noise", "behaviour")


class PairsConfig(BaseModel):
    """The mixture of pair sources and their thresholds.

    Each video draws a source by weight from those that have a partner for it; without one, it gets two views of itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    views: float = Field(1.0, ge=0, description="weight of two views of one video: different frames and audio windows")
    co_watched: float = Field(
        0, ge=0, description="weight of another video that the same users watched around that time"
    )
    cross_modal: float = Field(0, ge=0, description="weight of a video's images and audio paired with its text")
    label: float = Field(0, ge=0, description="weight of another video of the same category")
    co_liked: float = Field(0, ge=0, description="weight of a similar video that the same users rated highly")
    behaviour: float = Field(
        0,
        ge=0,
        description="weight of another video that the same users watched around that time, more if they liked it and "
        "less if it was shown where everything is watched",
    )
    noise: float = Field(
        0, ge=0, description="weight of the video with added noise; for ablations only, not useful for training"
    )

    anchors: Literal["videos", "watches"] = Field(
        "videos",
        description="anchors of an epoch; videos: every video once; watches: as many videos, drawn in proportion to "
        "their views, as users' next views are distributed",
    )

    co_watch_window_s: float = Field(
        3 * DAY_S, gt=0, description="co-watched: time window; some days, because interests last and logs are sparse"
    )
    session_gap_s: float | None = Field(
        None, gt=0, description="co-watched: pause that ends a session; pairs within a session; unset: time window"
    )
    co_watch_reach: int = Field(
        20, ge=1, description="co-watched: maximum number of later watches paired with each; bounds memory"
    )

    min_rating: float = Field(4.0, description="co-liked: minimum rating of a liked video")
    min_jaccard: float = Field(0.25, gt=0, le=1, description="co-liked: minimum overlap of categories and tags")
    max_jaccard_negative: float = Field(
        0.1, ge=0, le=1, description="co-liked: maximum overlap of categories and tags of a negative"
    )
    co_liked_partners: int = Field(
        200, ge=1, description="co-liked: maximum number of partners per video, most co-liked first; bounds memory"
    )

    max_debiasing: float = Field(
        10.0, ge=1, description="behaviour: maximum weight of a watch for being shown where few look; 1: no debiasing"
    )

    negatives: Literal["batch", "mined", "skipped"] = Field(
        "batch",
        description="batch: the other videos of the batch; mined: also nearby videos that are not alike, mined every "
        "epoch; skipped: also videos that were shown to users who watched the video, and watched less than expected",
    )
    mined_per_pair: int = Field(1, ge=1, description="mined or skipped negatives per pair")
    mined_from_rank: int = Field(
        10, ge=0, description="number of nearest videos left out as likely unlabelled positives"
    )
    mined_to_rank: int = Field(50, ge=1, description="mined negatives are among this many nearest videos")

    modality_dropout: float = Field(
        MODALITY_DROPOUT, ge=0, lt=1, description="probability of dropping each modality of a view"
    )
    noise_std: float = Field(
        0.1, gt=0, description="standard deviation of the noise relative to a vector's root mean square"
    )

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if not any(getattr(self, name) for name in SOURCES):
            raise ValueError("all pair sources have weight 0. Set the weight of one, such as pairs.views=1.")
        if self.mined_to_rank <= self.mined_from_rank:
            raise ValueError("pairs.mined_to_rank must be above pairs.mined_from_rank")
        if self.max_jaccard_negative >= self.min_jaccard:
            raise ValueError("pairs.max_jaccard_negative must be below pairs.min_jaccard")
        return self

    @property
    def of_users(self) -> bool:
        """Whether pairs come from what users watched."""
        return any((self.co_watched, self.co_liked, self.behaviour))

    @property
    def of_behaviour(self) -> bool:
        """Whether it matters what users were shown."""
        return self.behaviour > 0 or self.negatives == "skipped"
