"""Settings of recommendations."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from rayreel.tower.config import HALF_LIFE_S, HISTORY, INTERESTS


class Layout(StrEnum):
    """pca: the two directions of the largest variance. tsne, umap: neighbours stay neighbours."""

    PCA = "pca"
    TSNE = "tsne"
    UMAP = "umap"


class RecommendConfig(BaseModel):
    """How queries are answered, in the service and in `rayreel.recommend`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    half_life_s: float = Field(
        HALF_LIFE_S, gt=0, description="user: time after which a watched video has half its weight, seconds"
    )
    watched_interests: int = Field(
        INTERESTS, ge=1, le=20, description="user: most groups that a watch history is split into; each costs a search"
    )
    history: int = Field(
        HISTORY, ge=1, le=1000, description="user_id: newest watched and liked videos that the history is made of"
    )
    skipped_s: float = Field(
        86_400.0, ge=0, description="user_id: time for which skipped videos are not recommended again, seconds"
    )
    popular_half_life_s: float = Field(
        7 * 86_400.0,
        gt=0,
        description="user_id without history: age at which a view counts half for popularity, seconds",
    )
    popular_refresh_s: float = Field(
        60.0,
        ge=0,
        description="user_id without history: how long a replica keeps the counts of popular videos, seconds",
    )
    freshness: float = Field(
        0.3, ge=0, description="user_id without history: score of a new video; the most popular video has 1"
    )
    fresh_half_life_s: float = Field(
        7 * 86_400.0, gt=0, description="user_id without history: age at which a video is half as fresh, seconds"
    )
    liked_interests: int = Field(
        5, ge=1, le=20, description="user: most groups that the liked categories are split into; each costs a search"
    )
    text_neighbours: int = Field(
        3,
        ge=0,
        le=50,
        description="text: nearest videos whose mean is added to the query before the search; 0: none, which saves the "
        "first of two searches",
    )
    correct_words: bool = Field(
        True,
        description="hybrid: in a text, a word of at least 5 letters that neither a video nor the vocabulary of "
        "the text encoder has is replaced by the nearest word of the titles with one error, from 9 letters with two",
    )
    diversity_candidates: int = Field(
        5,
        ge=1,
        le=50,
        description="diversity: candidates per result to choose from, for at least 10 results",
    )
    reranker: str | None = Field(
        None,
        description="cross-encoder for queries by text with `rerank`: hf:OWNER/NAME@REVISION, such as "
        "hf:cross-encoder/ms-marco-MiniLM-L6-v2, or the folder of a checkpoint; unset: none",
    )
    reranked: int = Field(50, ge=1, le=200, description="rerank: best results that are reranked")
    guardrails_s: float = Field(
        300.0, gt=0, description="how often a replica checks the guardrails of experiments, seconds"
    )
    exact_cells: int = Field(
        1 << 25,
        ge=0,
        description="releases of at most this many numbers, videos x width, are searched exactly in memory instead of "
        "in the index; 2^25 are 65,536 videos of width 512, which one core compares in about 15 ms",
    )
