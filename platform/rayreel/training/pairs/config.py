"""Which pairs a tower learns from."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

DAY_S = 24 * 3600.0


class PairsConfig(BaseModel):
    """The mixture of pair sources and their thresholds.

    Each video draws a source by weight among those that have a partner for it; where none has, two views of itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    views: float = Field(1.0, ge=0, description="weight of two views of one video: other frames, windows, modalities")
    co_watched: float = Field(0, ge=0, description="weight of another video that the same users watched around then")
    cross_modal: float = Field(0, ge=0, description="weight of a video's pictures and sound against its text")
    label: float = Field(0, ge=0, description="weight of another video of the same category")
    co_liked: float = Field(0, ge=0, description="weight of a similar video that the same users rated well")
    noise: float = Field(0, ge=0, description="weight of the video plus noise; teaches nothing, for ablations only")

    anchors: Literal["videos", "watches"] = Field(
        "videos",
        description="what an epoch takes pairs of: every video once; or as many, drawn by how often they are watched, "
        "as users' next views are",
    )

    co_watch_window_s: float = Field(
        3 * DAY_S, gt=0, description="co-watched: within this time; interest lasts for days, and logs are thin"
    )
    session_gap_s: float | None = Field(
        None, gt=0, description="co-watched: in one session, which ends with a pause this long; unset: the window"
    )
    co_watch_reach: int = Field(
        20, ge=1, description="co-watched: a watch pairs with so many later ones at most; bounds memory for binges"
    )

    min_rating: float = Field(4.0, description="co-liked: a rating from which on a video counts as liked")
    min_jaccard: float = Field(0.25, gt=0, le=1, description="co-liked: least overlap of categories and tags")
    max_jaccard_negative: float = Field(
        0.1, ge=0, le=1, description="co-liked: largest overlap of categories and tags that negatives may have"
    )
    co_liked_partners: int = Field(
        200, ge=1, description="co-liked: so many partners kept per video, those liked together most; bounds memory"
    )

    negatives: Literal["batch", "mined"] = Field(
        "batch", description="mined: besides the rest of the batch, near videos that are not alike, anew every epoch"
    )
    mined_per_pair: int = Field(1, ge=1, description="mined negatives per pair")
    mined_from_rank: int = Field(10, ge=0, description="nearest videos left out: likely positives nobody knows of")
    mined_to_rank: int = Field(50, ge=1, description="mined negatives are among so many nearest videos")

    modality_dropout: float = Field(0.3, ge=0, lt=1, description="chance that a view loses a modality it has")
    noise_std: float = Field(0.1, gt=0, description="standard deviation of the noise over a vector's root mean square")

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if not any((self.views, self.co_watched, self.cross_modal, self.label, self.co_liked, self.noise)):
            raise ValueError("all pair sources have weight 0; give one a weight, such as pairs.views=1")
        if self.mined_to_rank <= self.mined_from_rank:
            raise ValueError("pairs.mined_to_rank must be above pairs.mined_from_rank")
        if self.max_jaccard_negative >= self.min_jaccard:
            raise ValueError("pairs.max_jaccard_negative must be below pairs.min_jaccard")
        return self
