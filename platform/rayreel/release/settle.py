"""Settle: the index's alias says what serves; what a killed job left unwritten of its switch is written down."""

from rayreel.release import audit, registry
from rayreel.release.registry import Version
from rayreel.release.site import Site


def settle(site: Site) -> Version | None:
    """Let the registry say what the alias says. Returns the version whose roll-back has so been finished, if any."""
    serving, champion = site.champion(), registry.find(registry.CHAMPION)
    if serving is None or serving == champion:
        return None
    left = champion if champion is not None and _was_left_for(champion, serving) else None
    if left is None:
        audit.promoted(serving)
    elif "rolled_back_at" not in registry.tags(left):
        audit.rolled_back(left, serving)
    registry.crown(serving)
    return left


def _was_left_for(champion: Version, serving: Version) -> bool:
    return registry.tags(champion).get("rolled_back_to") == str(serving.number)
