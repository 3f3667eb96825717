"""Serendipity: a share of the results comes from other categories than the query's."""

import math

from rayreel.recommendation.candidates import RankedCandidates


def required_outsiders(serendipity: float, top_k: int) -> int:
    """Return how many of `top_k` results must come from other categories: the share, rounded up."""
    return math.ceil(serendipity * top_k - 1e-9)


def with_outsiders(
    chosen: RankedCandidates, is_outsider: list[bool], others: RankedCandidates, required: int
) -> RankedCandidates:
    """Replace as few of the chosen as needed to have `required` candidates of other categories.

    `is_outsider` states for each chosen candidate whether it is of another category already. The last of those that are
    not are replaced by the best of `others` (of other categories, best first) not chosen yet, appended at the end.
    """
    available = [i for i, place in enumerate(others.places) if place not in chosen.places]
    missing = min(max(required - sum(is_outsider), 0), len(available), len(is_outsider) - sum(is_outsider))
    if not missing:
        return chosen
    at_home = [i for i, other in enumerate(is_outsider) if not other]
    replaced = set(at_home[len(at_home) - missing :])
    kept = chosen.take([i for i in range(len(is_outsider)) if i not in replaced])
    added = others.take(available[:missing])
    stages = kept.stages + ["serendipity"] * missing
    return RankedCandidates(kept.places + added.places, kept.scores + added.scores, stages)
