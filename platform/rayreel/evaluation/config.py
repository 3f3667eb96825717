"""What is measured, and how surely."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

Cutoffs = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
Relevance = Literal["category", "tags", "co_watch"]


class EvaluationConfig(BaseModel):
    """What is measured, and how surely."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ks: Cutoffs = Field((1, 3, 5, 10, 20, 50), description="lengths of the list at which every metric is taken")
    neighbour_ks: Cutoffs = Field((1, 5, 10, 20, 50), description="lengths for R@k of the nearest neighbours")
    at: PositiveInt = Field(10, description="the length shown in tables and tested for significance")
    metric: Literal["ndcg", "recall", "precision", "hit_rate", "mrr", "map"] = Field(
        "ndcg", description="the metric whose intervals and significance the tables show"
    )
    relevance: tuple[Relevance, ...] = Field(
        ("category", "tags", "co_watch"), description="what makes two videos alike; each the catalog has is reported"
    )
    co_watch_window_s: float = Field(
        3 * 24 * 3600, gt=0, description="longest time between two views of one user that make videos co-watched"
    )
    co_watch_views: int = Field(
        1, ge=1, description="so many times must two videos be co-watched to count: more where everything meets once"
    )
    history: int = Field(20, ge=1, description="last videos of a user that make up their query")
    bootstrap: int = Field(1000, ge=100, description="resamples for 95 % intervals and for significance")
    seed: int = Field(0, description="for random baselines, factorisation and resampling")

    @model_validator(mode="after")
    def _shown_length_is_measured(self) -> Self:
        if self.at not in self.ks:
            raise ValueError(f"at = {self.at} is none of ks = {self.ks}: add it there, or choose one of them")
        return self

    @property
    def headline(self) -> str:
        """The metric that decides, such as ndcg@10."""
        return f"{self.metric}@{self.at}"


class SplitConfig(BaseModel):
    """Which share of the videos is held out, and what must stay on one side."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    validation: float = Field(0.1, ge=0, lt=1, description="share of videos for choosing the best epoch")
    test: float = Field(0.2, ge=0, lt=1, description="share of videos for the report, never seen before it")
    group_by: str = Field("source", description="catalog column whose equal values stay on one side, where it exists")
    seed: int = Field(0, description="another seed, another split")
    user_cut: Literal["global", "per_user"] = Field(
        "global",
        description="global: the same moments end training and validation for everybody, nobody's future is trained "
        "on; per_user: each user's last view is for the test, the one before for validation",
    )
    validation_period: float = Field(0.1, gt=0, lt=0.5, description="share of views, the latest before the test's")
    test_period: float = Field(0.1, gt=0, lt=0.5, description="share of views, the latest of all")
