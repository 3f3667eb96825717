"""Which experiments there are, read from a file below the storage root, and who takes part in which arm."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from rayreel.errors import RayreelError
from rayreel.recommendation.scenarios import Scenario, read_named
from rayreel.storage import Storage

FILE = "experiments.yaml"
DAY_S = 86_400.0
_DIGITS = 2**64


class BadExperiments(RayreelError):
    """The file of experiments is invalid, or cannot be read."""


class Arm(BaseModel):
    """A share of the users, and the scenario and the release that answer them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float = Field(gt=0, le=1, description="Of the users.")
    scenario: str | None = Field(None, description="By default, that of the experiment.")
    release: int | None = Field(None, ge=1, description="By default, the one that serves.")


class Guardrails(BaseModel):
    """Bounds of an arm, compared with the control. One that is out of bounds ends the arm."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_coverage: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Different videos shown, as a share of the control's in the same number of results.",
    )
    max_drift: float | None = Field(
        None, gt=0, le=1, description="Jensen-Shannon divergence of the categories shown, in bits: 0 equal, 1 disjoint."
    )
    max_repeated: float | None = Field(
        None, ge=0, le=1, description="Share of results by a creator of an earlier result of the same answer."
    )
    creator: str = Field("creator", description="The metadata field that names the creator.")


class Experiment(BaseModel):
    """Scenarios or releases side by side. Users whose requests name `scenario` take part.

    The first arm is the control.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scenario: str = Field(description="Requests of known users with this scenario take part.")
    arms: dict[str, Arm] = Field(min_length=2)
    salt: str = Field("", description="Another salt draws the users of every arm again.")
    window_s: float = Field(DAY_S, gt=0, description="How long a user is observed, from their first answer on.")
    alpha: float = Field(0.05, gt=0, lt=0.5, description="Chance of a false difference, of all arms together.")
    min_users: int = Field(
        200, ge=2, description="Users of an arm before anything is said or ended; with fewer, rare views mislead."
    )
    guardrails: Guardrails = Guardrails()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (total := sum(arm.share for arm in self.arms.values())) > 1 + 1e-9:
            raise ValueError(f"the shares sum to {total:g}, more than 1")
        seen: dict[tuple[str, int | None], str] = {}
        for name, arm in self.arms.items():
            first = seen.setdefault((self.scenario_of(name), arm.release), name)
            if first != name:
                raise ValueError(f"the arms {first} and {name} have the same scenario and the same release")
        return self

    @property
    def control(self) -> str:
        """The name of the first arm."""
        return next(iter(self.arms))

    def scenario_of(self, arm: str) -> str:
        """Return the name of the scenario of an arm."""
        return self.arms[arm].scenario or self.scenario

    def arm_of(self, name: str, person: str) -> str | None:
        """Return the arm of a person, always the same; None if their share takes no part.

        The control has the hashes from 0 on, the others those below 1 in their order, and those that take no part lie
        between. So changed shares of two arms, a changed control or last arm, and another arm at the end move as few
        people as possible.
        """
        point, edge = _unit(f"{self.salt or name}\n{person}"), 1.0
        if point < self.arms[self.control].share:
            return self.control
        for arm in list(self.arms)[1:]:
            edge -= self.arms[arm].share
            if point >= edge:
                return arm
        return None


_EXPERIMENTS = TypeAdapter(dict[str, Experiment])


def read_experiments(storage: Storage, scenarios: Mapping[str, Scenario]) -> Mapping[str, Experiment]:
    """Return the experiments by name; none without a file.

    Raises:
        BadExperiments: the file is not valid, names a scenario that does not exist, or has two for one scenario.
    """
    found = read_named(storage, FILE, _EXPERIMENTS, BadExperiments)
    used = {of.scenario_of(arm) for of in found.values() for arm in of.arms} | {of.scenario for of in found.values()}
    if missing := used - scenarios.keys():
        raise BadExperiments(
            f"{storage.path(FILE)}: no scenario {', '.join(sorted(missing))}. Add it to scenarios.yaml."
        )
    counts = Counter(of.scenario for of in found.values())
    if several := [scenario for scenario, count in counts.items() if count > 1]:
        raise BadExperiments(f"{storage.path(FILE)}: two experiments for scenario {several[0]}. Remove one of them.")
    return found


def named_experiment(experiments: Mapping[str, Experiment], name: str) -> Experiment:
    """Return an experiment. Raises BadExperiments if there is none of that name."""
    if name not in experiments:
        known = ", ".join(sorted(experiments)) or "none"
        raise BadExperiments(f"There is no experiment {name!r}. Known experiments: {known}.")
    return experiments[name]


def _unit(text: str) -> float:
    """Return a number from 0 up to 1 that looks random and depends on the text alone."""
    number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
    return number / _DIGITS
