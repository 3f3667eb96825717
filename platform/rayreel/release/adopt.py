"""Adoption: a tower of other encoders replaces the serving release, or nothing changes."""

from collections.abc import Callable

from rayreel.release import registry
from rayreel.release.gates import PromotionRefused
from rayreel.release.promote import Promotion
from rayreel.release.registry import Version


def promote_or_restore(version: Version, challenger: int | None, promote: Callable[[], Promotion]) -> Promotion:
    """Promote the version; if its gates refuse it, make `challenger` the challenger again.

    Raises PromotionRefused, whose message says what is left and how to promote the version nevertheless.
    """
    try:
        return promote()
    except PromotionRefused as refused:
        registry.challenge(challenger)
        raise PromotionRefused(f"{refused}\n{_left(version, challenger)}", refused.gates) from refused


def _left(version: Version, challenger: int | None) -> str:
    before = "none, as before" if challenger is None else f"version {challenger}, as before"
    return (
        f"Nothing was switched: the release, its features and the catalog are unchanged, and {registry.CHALLENGER} is "
        f"{before}. There is nothing to take back. The new features are kept in features/{version.encoder_key}, "
        f"which may be deleted, and the tower as version {version.number}. To promote it nevertheless: "
        f"`rayreel promote --version {version.number} --force REASON` with the settings above."
    )
