"""What each arm of an experiment has reached, compared with the control."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, func, select

from rayreel.client.experiments import ArmReport, ExperimentReport, MeasuredDifference
from rayreel.events.export import WATCHED
from rayreel.events.read import ends_of
from rayreel.events.tables import events
from rayreel.experiments.measures import different_among, drift, novelty, repeated_creators
from rayreel.experiments.observed import AnswerSeen, Observed, Participant, observed
from rayreel.experiments.plan import Experiment
from rayreel.experiments.sequences import difference_of_means
from rayreel.recommendation.live import Live
from rayreel.release.rows import VideoRow


def report(
    connection: Connection,
    live: Live,
    name: str,
    experiment: Experiment,
    now: float,
    *,
    kept: Collection[int] | None = None,
) -> ExperimentReport:
    """Return what each arm has reached until now.

    Means and intervals are of people whose time is over, so that every person is one finished observation; the rest
    is of everything that was shown. `kept`: the releases that can answer, None if that is unknown.
    """
    found = observed(connection, name, experiment.window_s)
    look = _Look(live, experiment, found, _watchers(connection, found), ends_of(connection, name), now)
    rows = [_with_release(look.row(arm), experiment.arms[arm].release, kept) for arm in experiment.arms]
    drawn = min((row.shown for row in rows if row.shown), default=0)
    rows = [_with_coverage(row, _shown(look.people(row.arm)), drawn, len(live)) for row in rows]
    return ExperimentReport(
        experiment=name, release=live.version, seen_by="impressions" if found.impressions else "results", arms=rows
    )


@dataclass(frozen=True, slots=True)
class _Look:
    """What is known at a time. `watchers`: the people who had watched each video before, and their number."""

    live: Live
    experiment: Experiment
    found: Observed
    watchers: tuple[Mapping[str, int], int]
    ended: Mapping[str, str]
    now: float

    def people(self, arm: str) -> list[Participant]:
        """Return the people of an arm."""
        return [participant for participant in self.found.people if participant.arm == arm]

    def done(self, arm: str) -> list[Participant]:
        """Return those whose time is over, and who have seen anything."""
        until = self.now - self.experiment.window_s
        return [participant for participant in self.people(arm) if participant.since <= until and _seen(participant)]

    def row(self, arm: str) -> ArmReport:
        """Return the row of an arm, without its coverage."""
        people, done, experiment = self.people(arm), self.done(arm), self.experiment
        shown, categories = _shown(people), self.categories(arm)
        of_control = self.categories(experiment.control)
        compared = arm != experiment.control and categories and of_control
        return ArmReport(
            arm=arm,
            scenario=experiment.scenario_of(arm),
            share=experiment.arms[arm].share,
            users=len(done),
            waiting=len(people) - len(done),
            shown=shown.total(),
            videos=len(shown),
            ctr=_mean(done, _ctr),
            dwell_s=_mean(done, _dwell_s),
            ctr_difference=self.difference(arm, _ctr),
            log_dwell_difference=self.difference(arm, lambda participant: math.log1p(_dwell_s(participant))),
            novelty=novelty(shown, *self.watchers) if shown else None,
            drift=drift(categories, of_control) if compared else None,
            repeated_creators=self.repeated(people),
            ended=self.ended.get(arm),
        )

    def difference(self, arm: str, value: Callable[[Participant], float]) -> MeasuredDifference | None:
        """Return the difference of an arm to the control; None of the control, and of few people."""
        experiment = self.experiment
        treated, control = self.done(arm), self.done(experiment.control)
        if arm == experiment.control or min(len(treated), len(control)) < experiment.min_users:
            return None
        treated_N, control_M = (np.asarray([value(one) for one in group]) for group in (treated, control))
        found = difference_of_means(treated_N, control_M, experiment.alpha / (len(experiment.arms) - 1))
        return found and MeasuredDifference(value=found.value, low=found.low, high=found.high)

    def categories(self, arm: str) -> Counter[str]:
        """Return how often an arm has shown each category."""
        answers = _answers(self.people(arm))
        return Counter(name for answer in answers for name in _named(self.live, answer, lambda row: row.category))

    def repeated(self, people: Sequence[Participant]) -> float | None:
        """Return the share of repeated creators; None if no video has one."""
        field = self.experiment.guardrails.creator
        return repeated_creators(
            _named(self.live, answer, lambda row: row.extra.get(field)) for answer in _answers(people)
        )


def _with_release(row: ArmReport, release: int | None, kept: Collection[int] | None) -> ArmReport:
    lacks = release is not None and kept is not None and release not in kept
    return row.model_copy(update={"release": release, "lacks_release": lacks})


def _with_coverage(row: ArmReport, shown: Counter[str], drawn: int, videos: int) -> ArmReport:
    """Add how many different videos there are in equally many results of every arm, and their share of the release."""
    if not shown:
        return row
    different = different_among(shown.values(), drawn)
    return row.model_copy(update={"different": different, "coverage": different / max(videos, 1)})


def _watchers(connection: Connection, found: Observed) -> tuple[Mapping[str, int], int]:
    """How many people watched each video before the experiment began, and how many people there were."""
    before = min((participant.since for participant in found.people), default=0.0)
    person = func.coalesce(events.c.user_id, events.c.session_id)
    earlier = events.c.type.in_(WATCHED), events.c.at < before
    query = select(events.c.video_id, func.count(person.distinct()).label("people")).where(*earlier)
    people = connection.execute(select(func.count(person.distinct())).where(*earlier)).scalar() or 0
    return {row.video_id: row.people for row in connection.execute(query.group_by(events.c.video_id))}, people


def _answers(people: Sequence[Participant]) -> list[AnswerSeen]:
    return [answer for participant in people for answer in participant.answers.values()]


def _seen(participant: Participant) -> int:
    return sum(len(answer.seen) for answer in participant.answers.values())


def _shown(people: Sequence[Participant]) -> Counter[str]:
    return Counter(video for answer in _answers(people) for video in answer.seen)


def _named(live: Live, answer: AnswerSeen, field: Callable[[VideoRow], object]) -> list[str]:
    """The values of a field of an answer's videos, in their order; without those that have none or have gone."""
    places = (live.find(video) for video in answer.shown if video in answer.seen)
    values = (field(live.row(place)) for place in places if place is not None)
    return [str(value) for value in values if value not in {None, ""}]


def _ctr(participant: Participant) -> float:
    """The share of the seen results that were watched."""
    return sum(len(answer.watched) for answer in participant.answers.values()) / _seen(participant)


def _dwell_s(participant: Participant) -> float:
    return sum(sum(answer.watched.values()) for answer in participant.answers.values())


def _mean(people: Sequence[Participant], value: Callable[[Participant], float]) -> float | None:
    return float(np.mean([value(participant) for participant in people])) if people else None
