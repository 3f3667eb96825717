"""Events of people in the HTTP API: what they saw and did, and what is kept of a person."""

import hashlib
import time
import uuid
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator

from rayreel.client.messages import AnswerId, PersonId, VideoId

EventType = Literal["impression", "view", "dwell", "like", "dislike", "hide", "skip", "share", "rating", "unlike"]
EVENT_TYPES: tuple[EventType, ...] = get_args(EventType)
EventId = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00]+$")]
MOST_EVENTS = 1000
# What clocks may be ahead of ours.
AHEAD_S = 86_400.0
_SECONDS = ("view", "dwell")
_STARS = 5
# Numbers above are milliseconds or microseconds since 1970, as in catalogs (`catalog.moments`).
_SECONDS_TO = 2e10


class Event(BaseModel):
    """Something that a person saw or did."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"event_id": "e-71", "user_id": "ann", "video_id": "ocean_001", "type": "view", "value": 12.5},
                {"session_id": "s-5", "video_id": "sky_004", "type": "like", "at": 1790000000},
            ]
        },
    )

    event_id: EventId | None = Field(
        None, description="An event with a known id is dropped, so requests can be repeated. Default: a digest, with at"
    )
    user_id: PersonId | None = None
    session_id: PersonId | None = Field(
        None, description="Of an anonymous visit. Its events become those of the user whose id is first sent with it."
    )
    video_id: VideoId
    type: EventType
    value: Annotated[float, Field(ge=0, le=1e6, strict=True, allow_inf_nan=False)] | None = Field(
        None, description="view and dwell: seconds watched; rating: 0 to 5 stars, required; no other type has one."
    )
    at: Annotated[float, Field(ge=0, le=1e17, strict=True, allow_inf_nan=False)] | None = Field(
        None, description="Seconds, milliseconds or microseconds since 1970. Default: now."
    )
    recommendation_id: AnswerId | None = Field(None, description="Of the answer that the video was in.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.user_id is None and self.session_id is None:
            raise ValueError("user_id or session_id is required")
        valued = self.value is not None
        if (self.type == "rating" and not valued) or (valued and self.type not in (*_SECONDS, "rating")):
            raise ValueError("rating requires a value; view and dwell may have one, no other type has one")
        if self.type == "rating" and self.value is not None and self.value > _STARS:
            raise ValueError("a rating is 0 to 5")
        if self.at is not None and self.seconds(0) > time.time() + AHEAD_S:
            raise ValueError("at is in the future: check the clock, and the unit of the time")
        return self

    def seconds(self, now: float) -> float:
        """Return the time of the event in seconds since 1970; `now` if it has none."""
        if self.at is None:
            return now
        at, unit = self.at, 1.0
        while at > _SECONDS_TO * unit:
            unit *= 1000
        return at / unit

    def identity(self) -> str:
        """Return its id; by default a digest of its content if it has a time, else a new one."""
        if self.event_id is not None:
            return self.event_id
        if self.at is None:
            return uuid.uuid4().hex
        content = self.model_dump_json(exclude_none=True)
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


_ROW: dict[str, JsonValue] = {"type": "object", "description": "An event. Invalid ones are refused one by one."}


class EventBatch(BaseModel):
    """Up to 1000 events. Valid ones are stored even if others are not."""

    model_config = ConfigDict(extra="forbid")

    events: list[Annotated[dict[str, Any], Field(json_schema_extra=_ROW)]] = Field(min_length=1, max_length=MOST_EVENTS)


class RefusedEvent(BaseModel):
    """An event that was not stored, and why."""

    index: int = Field(description="Its place in the request, from 0.")
    event_id: str | None = None
    error: str


class StoredEvents(BaseModel):
    """The result of a request with events. Those that are counted here are on disk."""

    stored: int
    duplicates: int = Field(description="Events whose id is known; they are dropped.")
    refused: list[RefusedEvent] = []


class KeptEvent(BaseModel):
    """An event as it is kept. Times in seconds since 1970."""

    event_id: str
    user_id: str | None = None
    session_id: str | None = None
    video_id: str
    type: str
    value: float | None = None
    at: float
    received_at: float
    recommendation_id: str | None = None


class KeptRecommendation(BaseModel):
    """An answer as it is kept."""

    recommendation_id: str
    at: float
    release: int
    query: dict[str, Any]
    video_ids: list[str]
    propensities: list[float] | None = Field(None, description="The chance of each; only if a scenario explored.")
    experiment: str | None = None
    arm: str | None = None


class Person(BaseModel):
    """Everything that is kept of a user."""

    user_id: str
    sessions: list[str] = Field([], description="Sessions that have become theirs.")
    events: list[KeptEvent] = Field(description="In the order of arrival.")
    recommendations: list[KeptRecommendation] = []
    next_cursor: str | None = Field(None, description="Value of ?cursor= for more events; null on the last page.")


class DeletionReceipt(BaseModel):
    """What was deleted of a user. Store it: the service keeps only a digest of the id."""

    receipt_id: str
    user_id: str
    deleted_at: float = Field(description="Seconds since 1970. Events of earlier times are refused from now on.")
    events: int
    sessions: int
    recommendations: int
    exported: int = Field(description="Rows deleted from exports for training.")
