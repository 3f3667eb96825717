"""Scenarios: named chains of ranking steps, read from a file below the storage root."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from rayreel.errors import RayreelError
from rayreel.index.filters import BadFilter, Filter, parse_filter
from rayreel.storage import Storage

FILE = "scenarios.yaml"
T = TypeVar("T")


class BadScenarios(RayreelError):
    """The file of scenarios is invalid, or cannot be read."""


class Rule(BaseModel):
    """A score for the videos that pass a filter, between two times: above 0 boosts, below 0 buries them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    filter: dict[str, Any] = Field(description="As in a query.")
    score: float = Field(ge=-2, le=2, description="Added to the score, which is a cosine.")
    since: datetime | None = None
    until: datetime | None = None

    @field_validator("filter")
    @classmethod
    def _is_a_filter(cls, value: dict[str, Any]) -> dict[str, Any]:
        try:
            parse_filter(value)
        except BadFilter as error:
            raise ValueError(str(error)) from None
        return value

    @property
    def condition(self) -> Filter:
        """The filter."""
        return parse_filter(self.filter)

    def applies(self, now: datetime) -> bool:
        """Whether it is its time; times without a zone are UTC."""
        since, until = (
            time and (time if time.tzinfo else time.replace(tzinfo=UTC)) for time in (self.since, self.until)
        )
        return (since is None or since <= now) and (until is None or now < until)


class Scenario(BaseModel):
    """The steps after retrieval, in their order: rules and freshness, near-duplicates, caps, diversity, pins,
    exploration.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidates: int = Field(5, ge=1, le=50, description="Candidates per result, for at least 10 results.")
    block: frozenset[str] = Field(frozenset(), description="Ids never returned.")
    rules: tuple[Rule, ...] = ()
    freshness: float = Field(0.0, ge=0, le=2, description="Added to the score of a new video; halves with its age.")
    fresh_half_life_s: float = Field(7 * 86_400.0, gt=0)
    near_duplicates: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="Drop a video whose cosine with one before it is at least this."
    )
    caps: dict[str, Annotated[int, Field(ge=1)]] = Field(
        {}, description="Most results with the same category, title, or extra.KEY such as a creator or a source."
    )
    explore: float = Field(
        0.0, ge=0, le=1, description="Chance of each result to be another candidate, drawn at random; see propensity."
    )
    pins: tuple[str, ...] = Field((), description="Ids returned first, unless the user has watched or refused them.")

    @field_validator("caps")
    @classmethod
    def _are_fields(cls, value: dict[str, int]) -> dict[str, int]:
        wrong = [name for name in value if name not in {"category", "title"} and not name.startswith("extra.")]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: expected category, title or extra.KEY")
        return value


_SCENARIOS = TypeAdapter(dict[str, Scenario])


def read_scenarios(storage: Storage) -> Mapping[str, Scenario]:
    """Return the scenarios by name; none without a file.

    Raises:
        BadScenarios: the file is not valid; the message names each field.
    """
    return read_named(storage, FILE, _SCENARIOS, BadScenarios)


def read_named(storage: Storage, file: str, kind: TypeAdapter[T], bad: type[RayreelError]) -> T:
    """Return the content of a YAML file below the storage root that names things; `bad` is raised if it is invalid."""
    path = storage.path(file)
    try:
        return kind.validate_python(yaml.safe_load(storage.read(path) or b"") or {})
    except yaml.YAMLError as error:
        raise bad(f"{path} is not valid YAML: {error}. Correct it.") from None
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise bad(f"{path}: {problems}. Correct it; until then the last valid one is used.") from None
