"""Settings of the event store, and the error of a store that does not answer."""

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from rayreel.errors import RayreelError


class EventsUnavailable(RayreelError):
    """The event store cannot be opened, or does not answer."""


class EventsConfig(BaseModel):
    """Where events of people are kept, and for how long recommendations are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: SecretStr = Field(
        SecretStr(""),
        description="Database of events, such as postgresql://user:password@host/rayreel. Empty: SQLite in "
        "events/events.db below the storage root, for services on one machine.",
    )
    wait_s: float = Field(
        10.0, gt=0, description="How long a write waits for another process's write to SQLite, seconds; then 503."
    )
    queued: int = Field(
        20_000, ge=1, description="Events that wait to be written on a replica; more are rejected with 429."
    )
    impressions: bool = Field(
        False, description="Store each video of an answer for a known user as an impression; else clients send them."
    )
    keep_recommendations_s: float = Field(
        30 * 86_400.0, gt=0, description="How long answers for known users are kept for their next pages, seconds."
    )
    keep_events_s: float | None = Field(
        None, gt=0, description="How long events are kept, seconds; in PostgreSQL, by whole months. Unset: for good."
    )
