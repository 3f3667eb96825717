"""What a version must prove before it serves, and how much of a release is kept."""

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from rayreel.placement import NodeLabels

Share = Annotated[float, Field(ge=0, le=1)]
# YAML reads the word `off` as false.
_Off = BeforeValidator(lambda given: "off" if given is False else given)
FollowMode: TypeAlias = Literal["gate", "force", "off"]


class GoldenQuery(BaseModel):
    """A query whose answer is known: of the `top_k` results, `at_least` must be among those expected."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str | None = Field(None, min_length=1, description="ask by these words, or …")
    video_id: str | None = Field(None, min_length=1, description="… by a video of the catalog")
    expect_ids: tuple[str, ...] = Field((), description="videos that must be found, or …")
    expect_category: str | None = Field(None, description="… the category of which videos must be found")
    top_k: int = Field(10, ge=1, le=200, description="length of the list")
    at_least: int = Field(1, ge=1, description="so many of the list must be as expected")

    @model_validator(mode="after")
    def _asks_and_expects_one_thing(self) -> Self:
        if (self.text is None) == (self.video_id is None):
            raise ValueError("a golden query asks by text or by video_id: give exactly one of them")
        if bool(self.expect_ids) == (self.expect_category is not None):
            raise ValueError("a golden query expects expect_ids or an expect_category: give exactly one of them")
        most = min(self.top_k, len(self.expect_ids)) if self.expect_ids else self.top_k
        if self.at_least > most:
            raise ValueError(f"at_least = {self.at_least}, but no more than {most} results can be as expected")
        return self


class GatesConfig(BaseModel):
    """What a version must prove before it serves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alpha: float = Field(0.05, gt=0, lt=1, description="a difference counts when luck gives it less often than this")
    champion: Annotated[Literal["better", "not_worse", "off"], _Off] = Field(
        "better", description="against the champion on the same videos; not_worse: no significant loss"
    )
    baselines: Annotated[Literal["above", "not_worse", "off"], _Off] = Field(
        "above",
        description="against each content baseline: a higher mean (or both perfect); not_worse: no significant loss",
    )
    metrics: tuple[str, ...] = Field(
        (),
        description="what decides, such as users/ndcg@10; unset: the headline metric of users, else of co_watch, "
        "category or tags, the first that the catalog allows to ask for",
    )
    min_recall: Share = Field(0.98, description="recall@10 of the ANN index against exact search")
    recall_sample: int = Field(200, ge=1, description="videos whose exact neighbours the index is asked for")
    golden: tuple[GoldenQuery, ...] = Field((), description="queries with known answers")


class ReleaseConfig(BaseModel):
    """How releases are made, judged and kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    neighbours: int = Field(256, ge=1, le=16_384, description="nearest videos of each video, kept with a snapshot")
    overlay_rows: int = Field(1000, ge=0, description="rows written since the snapshot before a new one is made")
    keep: int = Field(
        2, ge=1, description="former releases kept to roll back to; requests in flight still ask the last of them"
    )
    read_on: NodeLabels = Field({}, description="labels of the nodes that read features to embed; unset: any node")
    embed_on: NodeLabels = Field({}, description="labels of the nodes that embed many videos; unset: any node")
    follow: Annotated[FollowMode, _Off] = Field(
        "gate",
        description="when the alias champion moves in MLflow: gate promotes that version through the gates, as "
        "jobs/promote.py does; force ignores failed quality gates; off does nothing",
    )
    follow_every_s: float = Field(5.0, gt=0, description="seconds between checks of the champion in MLflow")
    webhook_secret: SecretStr = Field(
        SecretStr(""),
        description="secret that signs MLflow's deliveries to /v1/mlflow/webhook; empty: no webhook",
    )
    gates: GatesConfig = GatesConfig()
