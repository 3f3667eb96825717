"""Settings of the evaluation: metrics, relevance and statistics."""

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator, model_validator

Cutoffs = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
Relevance = Literal["category", "tags", "co_watch"]
# Probability of dropping each modality of a view, in view retrieval and by default in training.
MODALITY_DROPOUT = 0.3


class EvaluationConfig(BaseModel):
    """Metrics, cutoffs, relevance and statistical tests."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ks: Cutoffs = Field((1, 3, 5, 10, 20, 50), description="cutoffs k at which every metric is computed")
    neighbour_ks: Cutoffs = Field((1, 5, 10, 20, 50), description="cutoffs k for R@k of the nearest neighbours")
    at: PositiveInt = Field(10, description="the cutoff shown in tables and tested for significance")
    metric: Literal["ndcg", "recall", "precision", "hit_rate", "mrr", "map"] = Field(
        "ndcg", description="headline metric: tables show its intervals and significance"
    )
    relevance: tuple[Relevance, ...] = Field(
        ("category", "tags", "co_watch"),
        description="what makes two videos relevant to each other; each one the data have is reported",
    )
    co_watch_window_s: float = Field(
        3 * 24 * 3600, gt=0, description="longest time between two views of one user that make videos co-watched"
    )
    co_watch_views: int = Field(
        1, ge=1, description="co-watches that make two videos relevant; raise it if most pairs are co-watched by chance"
    )
    history: int = Field(20, ge=1, description="most recent videos of a user that form the query")
    knn_neighbours: int = Field(200, ge=1, description="item-kNN: neighbours kept per video")
    factors: int = Field(64, ge=1, description="matrix factorisation: numbers per user and video")
    view_confidence: float = Field(
        10.0, gt=0, description="matrix factorisation: weight of a view against a video that was not watched (alpha)"
    )
    ease_regularisation: float = Field(500.0, gt=0, description="EASE: L2 regularisation of its weights")
    ease_decay: float = Field(
        0.8, gt=0, le=1, description="EASE: weight of a video of a history, as a share of that of the one after it"
    )
    sasrec_epochs: int = Field(
        0,
        ge=0,
        description="SASRec by ids: most passes over the training views; 0: no such row, for it takes minutes",
    )
    bootstrap: int = Field(1000, ge=100, description="resamples for 95 % intervals and p-values")
    seed: int = Field(0, description="seed of random baselines, factorisation and resampling")

    @model_validator(mode="after")
    def _at_is_one_of_ks(self) -> Self:
        if self.at not in self.ks:
            raise ValueError(f"at = {self.at} is not in ks = {self.ks}. Add it to ks, or set at to one of them.")
        return self

    @property
    def headline(self) -> str:
        """The headline metric, such as ndcg@10."""
        return f"{self.metric}@{self.at}"


class SplitConfig(BaseModel):
    """How videos and interactions are split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    validation: float = Field(0.1, ge=0, lt=1, description="share of videos for selecting the best epoch")
    test: float = Field(0.2, ge=0, lt=1, description="share of videos for the report, unused before it")
    group_by: str = Field("source", description="catalog column; videos with equal values stay on one side")
    seed: int = Field(0, description="seed of the split")
    before: datetime | None = Field(
        None, description="views from this time on are not read, in training and in reports; UTC without an offset"
    )
    user_cut: Literal["global", "per_user"] = Field(
        "global",
        description="global: the same time cuts for all users, so that training has no future views; per_user: each "
        "user's last view is for the test, the one before it for validation",
    )
    validation_period: float = Field(0.1, gt=0, lt=0.5, description="share of views: the latest before the test period")
    test_period: float = Field(0.1, gt=0, lt=0.5, description="share of views: the latest")

    @field_validator("before")
    @classmethod
    def _has_an_offset(cls, before: datetime | None) -> datetime | None:
        return before.replace(tzinfo=UTC) if before is not None and before.tzinfo is None else before
