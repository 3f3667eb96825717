"""Settings of releases: the gates of a promotion, following MLflow, and how much is kept."""

import tempfile
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from rayreel.encoders.registry import Modality
from rayreel.index.config import Language
from rayreel.placement import NodeLabels
from rayreel.tower.config import Smoothing

Share = Annotated[float, Field(ge=0, le=1)]
# YAML reads the word `off` as false.
_Off = BeforeValidator(lambda given: "off" if given is False else given)
SmoothingMode: TypeAlias = Literal["auto", "off"] | Smoothing
FollowMode: TypeAlias = Literal["gate", "force", "off"]


class GoldenQuery(BaseModel):
    """A query with known results: of the `top_k` results, `at_least` must be as expected."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str | None = Field(None, min_length=1, description="query by text, or …")
    video_id: str | None = Field(None, min_length=1, description="… by a video of the catalog")
    expect_ids: tuple[str, ...] = Field((), description="videos that must be found, or …")
    expect_category: str | None = Field(None, description="… category of the videos that must be found")
    top_k: int = Field(10, ge=1, le=200, description="number of results")
    at_least: int = Field(1, ge=1, description="results that must be as expected")

    @model_validator(mode="after")
    def _check_one_query_and_one_expectation(self) -> Self:
        if (self.text is None) == (self.video_id is None):
            raise ValueError("a golden query needs exactly one of text and video_id")
        if bool(self.expect_ids) == (self.expect_category is not None):
            raise ValueError("a golden query needs exactly one of expect_ids and expect_category")
        most = min(self.top_k, len(self.expect_ids)) if self.expect_ids else self.top_k
        if self.at_least > most:
            raise ValueError(f"at_least = {self.at_least}, but no more than {most} results can be as expected")
        return self


class GatesConfig(BaseModel):
    """Gates that a version must pass before it serves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alpha: float = Field(
        0.05, gt=0, lt=1, description="significance level: a difference with a smaller p-value is significant"
    )
    champion: Annotated[Literal["better", "not_worse", "off"], _Off] = Field(
        "better", description="against the champion on the same videos; not_worse: no significant loss"
    )
    baselines: Annotated[Literal["better", "above", "not_worse", "off"], _Off] = Field(
        "better",
        description="of what has learned, against each content baseline: a significant lead; above: a higher mean (or "
        "both perfect); not_worse: no significant loss, as always for frozen features, and against baselines of a few "
        "lines with the same information",
    )
    metrics: tuple[str, ...] = Field(
        (),
        description="metrics that decide, such as users/ndcg@10; unset: the headline metric of the first of "
        "users, co_watch, category, tags and views that the catalog allows to evaluate",
    )
    min_recall: Share = Field(0.98, description="recall@10 of the ANN index against exact search")
    recall_sample: int = Field(200, ge=1, description="number of videos on which recall is measured")
    golden: tuple[GoldenQuery, ...] = Field((), description="queries with known results")


class FieldBoosts(BaseModel):
    """How much one occurrence of a word counts in a search by words, by its field; a word counts fully from 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: Share = Field(1.0, description="words of the title")
    tags: Share = Field(1.0, description="words of the tags")
    description: Share = Field(0.5, description="words of the description")
    # With 0.5, 39 of 57 words that only one real clip says find it first, with 1 55; the ranking by category stays.
    transcript: Share = Field(1.0, description="words that are said")
    summary: Share = Field(0.5, description="words of summary, topics and title by a language model (rayreel enrich)")


class WordsConfig(BaseModel):
    """How a release's words are searched. Kept with its snapshot."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    language: Language = "english"
    boosts: FieldBoosts = FieldBoosts()


class ReleaseConfig(BaseModel):
    """How releases are built, judged and kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    neighbours: int = Field(256, ge=1, le=16_384, description="nearest videos of each video, kept with a snapshot")
    spaces: tuple[Modality, ...] = Field(
        (),
        description="modalities in whose encoder's own space the service finds neighbours (`space` of a query); each "
        "keeps 2 bytes per dimension and video in the snapshot, 2.5 GB for a million videos of 1280",
    )
    language: Language = Field(
        "english",
        description="language of titles and transcripts: a search by words ignores its stop words and endings; none: "
        "all words as they are",
    )
    boosts: FieldBoosts = FieldBoosts()
    smoothing: Annotated[SmoothingMode, _Off] = Field(
        "auto",
        description="averages each vector of the index with those of its nearest videos; auto: as chosen for the "
        "version on validation videos; off: never; or {neighbours: 5, alpha: 3}: always like this",
    )
    overlay_rows: int = Field(1000, ge=0, description="rows written since the snapshot before a new one is made")
    keep: int = Field(
        2, ge=1, description="former releases kept to roll back to; requests in flight still use the last of them"
    )
    read_on: NodeLabels = Field({}, description="labels of the nodes that read features to embed; unset: any node")
    embed_on: NodeLabels = Field({}, description="labels of the nodes that embed many videos; unset: any node")
    follow: Annotated[FollowMode, _Off] = Field(
        "gate",
        description="when the alias champion moves in MLflow: gate promotes that version through the gates, as "
        "`rayreel promote` does; force ignores failed quality gates; off does nothing",
    )
    follow_every_s: float = Field(5.0, gt=0, description="seconds between checks of the champion in MLflow")
    webhook_secret: SecretStr = Field(
        SecretStr(""),
        description="secret that signs MLflow's deliveries to /v1/mlflow/webhook; empty: no webhook",
    )
    retry_s: float = Field(
        10.0, gt=0, description="seconds before a champion that could not be followed is tried again; doubles each time"
    )
    retry_most_s: float = Field(600.0, gt=0, description="most seconds between such tries")
    lease_s: float = Field(
        30.0,
        ge=5,
        description="seconds after which the lease of a process that no longer renews it is free, if it ran on another "
        "machine; renewed six times as often",
    )
    lease_wait_s: float = Field(
        600.0, ge=0, description="seconds that an update of a release waits for other work on the same release"
    )
    snapshot_dir: Path | None = Field(
        None,
        description="folder for local copies of snapshots in an object store; unset: below the system's temporary "
        "folder",
    )
    gates: GatesConfig = GatesConfig()

    @property
    def words(self) -> WordsConfig:
        """How words are searched."""
        return WordsConfig(language=self.language, boosts=self.boosts)

    @property
    def snapshot_cache(self) -> Path:
        """Folder for local copies of snapshots, shared by the processes of a machine."""
        return self.snapshot_dir or Path(tempfile.gettempdir()) / "rayreel-snapshots"
