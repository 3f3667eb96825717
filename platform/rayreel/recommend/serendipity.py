"""Results from where the user did not look."""

import math

from rayreel.recommend.candidates import Candidates


def outsiders(serendipity: float, top_k: int) -> int:
    """How many of `top_k` results must come from other categories: the share, rounded up."""
    return math.ceil(serendipity * top_k - 1e-9)


def mixed(chosen: Candidates, away: list[bool], others: Candidates, need: int) -> Candidates:
    """Let at least `need` of the chosen be of other categories, changing as little as that takes.

    `away` says of each chosen whether it is of another category already. The last of those that are not give way to the
    best of `others` (of other categories, best first) that are not chosen yet; these come last.
    """
    fresh = [i for i, place in enumerate(others.places) if place not in chosen.places]
    missing = min(max(need - sum(away), 0), len(fresh), len(away) - sum(away))
    if not missing:
        return chosen
    at_home = [i for i, other in enumerate(away) if not other]
    giving_way = set(at_home[len(at_home) - missing :])
    stay = chosen.take([i for i in range(len(away)) if i not in giving_way])
    come = others.take(fresh[:missing])
    return Candidates(stay.places + come.places, stay.scores + come.scores, stay.stages + ["serendipity"] * missing)
