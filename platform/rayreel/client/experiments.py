"""Reports of experiments in the HTTP API."""

from pydantic import BaseModel, Field


class MeasuredDifference(BaseModel):
    """The difference to the control. The interval holds at every look, so the experiment may be ended at any time."""

    value: float
    low: float
    high: float


class ArmReport(BaseModel):
    """What an arm has reached. Means are of users who have been observed for the whole `window_s`."""

    arm: str
    scenario: str
    release: int | None = Field(None, description="The release that answers; null for the one that serves.")
    lacks_release: bool = Field(
        False, description="The release is not kept, so users of the arm get the answers of the control."
    )
    share: float
    users: int
    waiting: int = Field(description="Users who have not been observed for long enough, or have seen nothing.")
    shown: int = Field(description="Results that were seen.")
    videos: int = Field(description="Different videos among them.")
    ctr: float | None = Field(description="Share of the seen results that were watched, mean of users.")
    dwell_s: float | None = Field(description="Seconds watched, mean of users.")
    ctr_difference: MeasuredDifference | None = Field(None, description="Null for the control, and with too few users.")
    log_dwell_difference: MeasuredDifference | None = Field(
        None, description="Of log(1 + seconds), about the relative change; means of seconds have too heavy tails."
    )
    different: float | None = Field(None, description="Different videos among as many results as the smallest arm has.")
    coverage: float | None = Field(None, description="The same as a share of the release's videos.")
    novelty: float | None = Field(
        None, description="-log2 of the share of people who had watched a result, mean, bits."
    )
    drift: float | None = Field(None, description="Divergence of the categories from the control's, bits.")
    repeated_creators: float | None = Field(None, description="Share of results by a creator of an earlier result.")
    ended: str | None = Field(None, description="Why a guardrail has ended the arm.")


class ExperimentReport(BaseModel):
    """What the arms of an experiment have reached; the first is the control."""

    experiment: str
    release: int = Field(description="The release that categories and creators are from.")
    seen_by: str = Field(description="impressions, or results if clients send no impressions.")
    arms: list[ArmReport]
