"""Choose an encoder per budget: the dearest that is significantly better than the best cheaper one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from rayreel.evaluation.comparison import Versus

ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Challenge:
    """A contender against the best cheaper one, by the deciding metric; p is adjusted for the number of challenges.

    The cheapest has no `against`. `better`: it is significantly better, and so the next are compared with it.
    """

    name: str
    cost_ms: float
    against: str | None
    versus: Versus | None
    better: bool


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """The contender recommended for a budget in ms per video (None: without one), and why."""

    budget_ms: float | None
    name: str | None
    reason: str


def challenge(
    costs_ms: Mapping[str, float], versus: Callable[[str, str], Versus], alpha: float = ALPHA
) -> list[Challenge]:
    """Compare each contender, from the cheapest on, with the best cheaper one: the last that was significantly better.

    `versus` compares its first argument with its second. p is multiplied by the number of challenges (Bonferroni).
    """
    best, *rest = sorted(costs_ms, key=lambda name: (costs_ms[name], name))
    found = [Challenge(best, costs_ms[best], None, None, better=True)]
    for name in rest:
        alone = versus(name, best)
        adjusted = replace(alone, p=min(1.0, alone.p_alone * len(rest)))
        better = adjusted.difference > 0 and adjusted.p < alpha
        found.append(Challenge(name, costs_ms[name], best, adjusted, better))
        best = name if better else best
    return found


def choose(challenges: Sequence[Challenge], means: Mapping[str, float], budget_ms: float | None) -> EncoderChoice:
    """Return the last contender within the budget that is significantly better than the best cheaper one."""
    within = [one for one in challenges if budget_ms is None or one.cost_ms <= budget_ms]
    if not within:
        cheapest = challenges[0]
        return EncoderChoice(budget_ms, None, f"the cheapest, {cheapest.name}, costs {cheapest.cost_ms:.1f} ms a video")
    chosen = [one for one in within if one.better][-1]
    highest = max(within, key=lambda one: means[one.name])
    reason = f"{means[chosen.name]:.3f} for {chosen.cost_ms:.1f} ms a video; {_lead(chosen)}"
    if highest.name != chosen.name:
        reason += f"; the highest mean, {means[highest.name]:.3f} of {highest.name}, is no significant lead"
    return EncoderChoice(budget_ms, chosen.name, reason)


def _lead(chosen: Challenge) -> str:
    if chosen.versus is None:
        return "the cheapest, and none within the budget that costs more is significantly better"
    lead = chosen.versus
    return f"{lead.difference:+.3f} [{lead.low:+.3f}, {lead.high:+.3f}] against {chosen.against}, p {lead.p:.3f}"
