"""Messages of the HTTP API for operators: jobs, releases, health, and what a service is doing."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Job(BaseModel):
    """The status of a background job."""

    id: str
    status: Literal["QUEUED", "PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED"]
    message: str = ""
    log_tail: str = Field("", description="The last lines of the job's output.")


class GateResult(BaseModel):
    """The result of one gate at a promotion."""

    name: str
    passed: bool
    finding: str = Field("", description="What was measured, in words.")


class Release(BaseModel):
    """A promoted version and the record of its promotion."""

    version: int
    collection: str
    promoted_at: str | None = Field(None, description="ISO 8601, UTC.")
    promoted_by: str | None = None
    metrics: dict[str, float] = {}
    forced_reason: str | None = Field(None, description="Why it was promoted although a gate failed.")
    champion: bool = Field(description="Whether it is being served.")
    size: int | None = Field(None, description="Number of videos; null if its collection has been dropped.")
    gates: list[GateResult] = Field([], description="The gates at its promotion.")
    rolled_back_at: str | None = Field(None, description="When it was left for an earlier release; ISO 8601, UTC.")


class KeptRelease(BaseModel):
    """A release that requests can name: it serves, has served, or is a version built beside."""

    version: int
    serving: bool
    kind: str = Field("", description="tower; frozen or probe: features without a trained tower")
    promoted_at: str | None = Field(None, description="ISO 8601, UTC; null if it has never served.")


class ReleaseEvent(BaseModel):
    """An entry of the audit trail."""

    event: str = Field(
        description="promoted, rolled back, restored, kept, refused, champion deleted, arm ended or quarantine retried"
    )
    at: str = Field(description="ISO 8601, UTC.")
    by: str
    version: int | None = None
    before: int | None = Field(None, description="The version that served before.")
    reason: str = Field(
        "", description="Why it was refused, promoted although a gate failed, or ended; or which videos."
    )


class Quarantined(BaseModel):
    """A video of the catalog that could not be used."""

    video_id: str
    stage: str
    reason: str
    detail: str = Field("", description="Without addresses' secrets.")
    at: str = Field(description="ISO 8601, UTC.")
    retriable: bool = Field(False, description="Whether the service can try it again.")


class RetryRequest(BaseModel):
    """Which quarantined videos to try again."""

    model_config = ConfigDict(extra="forbid")

    video_ids: list[str] = Field([], max_length=100, description="By default, all that can be tried again.")


class ReplicaLoad(BaseModel):
    """What one replica of the service did in the last minute."""

    requests_per_s: float
    p50_ms: float | None = Field(None, description="Median time of a response; null without requests.")
    p99_ms: float | None = None
    failed: int = Field(0, description="Responses with a status of 500 or more.")
    queues: dict[str, int] = Field({}, description="Calls that run or wait, by queue.")
    looked_s: float | None = Field(None, description="Seconds since it last looked for changes of the release.")


class Operations(BaseModel):
    """What operators look at: jobs, load, audit trail, newest first, and quarantine with at most 100 of its videos."""

    events: list[ReleaseEvent] = []
    quarantined: int = 0
    reasons: dict[str, int] = {}
    quarantine: list[Quarantined] = []
    jobs: list[Job] | None = Field(
        None, description="Catalogs that are being added or wait, and the last ten that ended; null while Ray is away."
    )
    replica: ReplicaLoad | None = Field(None, description="The replica that answered. Others may differ.")
    links: dict[str, str] = Field({}, description="Addresses of Ray's dashboard, MLflow and Grafana, as far as known.")


class Following(BaseModel):
    """Whether the served release is the version with the alias `champion` in MLflow."""

    state: str = Field(
        description="in_step: the champion is served; wanted or following: the new champion is about to be or being "
        "evaluated and built; waiting for another process; refused by gates; failed; no_champion; index_moved by "
        "something other than a promotion; unreachable: MLflow or the index; stopped; off",
        examples=["in_step"],
    )
    mode: Literal["gate", "force", "off"] = Field(description="The setting release.follow.")
    wanted: int | None = Field(None, description="The version with the alias champion.")
    reason: str = Field("", description="Why a different version is served.")
    gates: list[str] = Field([], description="The gates that failed.")
    looked_at: str | None = Field(None, description="Time of the last check, ISO 8601, UTC.")


class Ready(BaseModel):
    """The served release and the state of the service."""

    release: int
    index_size: int
    device: str
    encoders: dict[str, str]
    following: Following | None = Field(None, description="Null before the first check; does not affect readiness.")
