"""Settings of the evaluation: metrics, relevance and statistics."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

Cutoffs = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
Relevance = Literal["category", "tags", "co_watch"]


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
