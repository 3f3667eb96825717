"""What a scenario would reach, estimated from answers in which another one explored, before anyone sees it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayreel.errors import RayreelError
from rayreel.experiments.sequences import Estimate

# Below, the target shows too much that the logging scenario could not have shown.
LEAST_OVERLAP = 0.9
# Results that the estimates are worth; with fewer, the normal approximation of the intervals is poor.
FEWEST_EFFECTIVE = 100.0
# As many results of the mean are added to those of each video, in the model of views.
PRIOR = 10.0
NORMAL_95 = 1.96


class NoPropensities(RayreelError):
    """No answers with propensities are kept that an estimate could be made from."""


class NoOverlap(RayreelError):
    """The logged answers say too little about the scenario."""


class LoggedAnswer(NamedTuple):
    """An answer: the videos shown, their propensities, which were watched, and what the target would have shown."""

    person: str
    shown: Sequence[str]
    propensities: Sequence[float]
    watched: Sequence[bool]
    target: Sequence[str]


@dataclass(frozen=True, slots=True)
class OfflineEstimates:
    """Views per result. `logged` is what was reached; the others, what the target would reach.

    `overlap`: the share of the target's results that could have been shown, as the weights say. `effective`: the number
    of results without weights that would be worth as much (Kish 1965).
    """

    answers: int
    people: int
    overlap: float
    effective: float
    logged: Estimate
    ips: Estimate
    snips: Estimate
    dr: Estimate


def estimates(answers: Sequence[LoggedAnswer]) -> OfflineEstimates:
    """Estimate the views per result of the target by IPS, SNIPS and DR, with 95 % intervals over people.

    A result that the target would show too has the weight 1 / propensity. This assumes that whether someone watches a
    video does not depend on its rank or on the other results (the item model of Li et al. 2018, Offline Evaluation of
    Ranking Policies with Click Models). SNIPS: Swaminathan and Joachims 2015. DR: Dudík et al. 2011; its model is the
    share of views of each video, of the other half of the people.

    Raises:
        NoPropensities: there are no answers.
        NoOverlap: the logging scenario could not have shown what the target shows, or too rarely.
    """
    if not answers:
        raise NoPropensities(
            "No answers with propensities. First serve a scenario with explore above 0 to known users."
        )
    rows = [_row(answer, model) for answer, model in zip(answers, _models(answers), strict=True)]
    sums_UC = _of_people([answer.person for answer in answers], np.asarray(rows, np.float64))
    weights_R = np.asarray([weight for answer in answers for weight in _weights(answer)])
    effective = float(weights_R.sum() ** 2 / (weights_R**2).sum()) if weights_R.any() else 0.0
    overlap = _ratio(sums_UC[:, 1], sums_UC[:, 2])
    if overlap.high < LEAST_OVERLAP or effective < FEWEST_EFFECTIVE:
        raise NoOverlap(
            f"The logged answers could have shown {overlap.value:.0%} of the scenario's results, and are worth "
            f"{effective:.0f} results; {LEAST_OVERLAP:.0%} and {FEWEST_EFFECTIVE:.0f} are required. Log more answers, "
            "explore more, or with more candidates."
        )
    return OfflineEstimates(
        answers=len(answers),
        people=len(sums_UC),
        overlap=overlap.value,
        effective=effective,
        logged=_ratio(sums_UC[:, 4], sums_UC[:, 5]),
        ips=_ratio(sums_UC[:, 0], sums_UC[:, 2]),
        snips=_ratio(sums_UC[:, 0], sums_UC[:, 1]),
        dr=_ratio(sums_UC[:, 3], sums_UC[:, 2]),
    )


def _row(answer: LoggedAnswer, model: Mapping[str, float]) -> tuple[float, ...]:
    """Weighted views, weights, results of the target, doubly robust views, views and results of an answer."""
    weights = _weights(answer)
    pairs = list(zip(answer.shown, weights, answer.watched, strict=True))
    of_model = sum(model[video] for video in answer.target)
    corrected = of_model + sum(weight * (watched - model[video]) for video, weight, watched in pairs)
    weighted = sum(weight * watched for _, weight, watched in pairs)
    return weighted, sum(weights), len(answer.target), corrected, sum(answer.watched), len(pairs)


def _weights(answer: LoggedAnswer) -> list[float]:
    target = set(answer.target)
    pairs = zip(answer.shown, answer.propensities, strict=True)
    return [1 / propensity if video in target else 0.0 for video, propensity in pairs]


def _models(answers: Sequence[LoggedAnswer]) -> list[Mapping[str, float]]:
    """Return for each answer the views per result of each video, of people in the other half."""
    halves = {person: number % 2 for number, person in enumerate(dict.fromkeys(answer.person for answer in answers))}
    models = [_model([answer for answer in answers if halves[answer.person] != half]) for half in (0, 1)]
    return [models[halves[answer.person]] for answer in answers]


def _model(answers: Sequence[LoggedAnswer]) -> Mapping[str, float]:
    shown, watched = defaultdict[str, int](int), defaultdict[str, int](int)
    for answer in answers:
        for video, seen in zip(answer.shown, answer.watched, strict=True):
            shown[video] += 1
            watched[video] += seen
    mean = sum(watched.values()) / max(sum(shown.values()), 1)
    known = {video: (watched[video] + PRIOR * mean) / (shown[video] + PRIOR) for video in shown}
    return defaultdict(lambda: mean, known)


def _of_people(people: Sequence[str], rows_AC: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of each person's answers, who are independent; answers of one person are not."""
    places: dict[str, int] = {}
    of_answer_A = [places.setdefault(person, len(places)) for person in people]
    sums_UC = np.zeros((len(places), rows_AC.shape[1]))
    np.add.at(sums_UC, of_answer_A, rows_AC)
    return sums_UC


def _ratio(above_U: NDArray[np.float64], below_U: NDArray[np.float64]) -> Estimate:
    """Return a ratio of sums over people, with the 95 % interval of its linear approximation."""
    total = float(below_U.sum())
    value = float(above_U.sum()) / total if total else 0.0
    margin = NORMAL_95 * float(np.sqrt(((above_U - value * below_U) ** 2).sum())) / total if total else 0.0
    return Estimate(value, value - margin, value + margin)
