"""Gates: the checks that a registered tower must pass before it may serve."""

from collections.abc import Sequence, Set
from dataclasses import dataclass

from rayreel.errors import RayreelError
from rayreel.features.key import EncoderKey
from rayreel.release.registry import Version


@dataclass(frozen=True, slots=True)
class ReleaseGate:
    """One check of a version and its finding; a failed one states by how much.

    Gates on quality can be overruled with a reason; gates on soundness cannot.
    """

    name: str
    passed: bool
    finding: str
    quality: bool = False


class PromotionRefused(RayreelError):
    """A version must not serve; `gates` are all gates that were checked."""

    def __init__(self, message: str, gates: Sequence[ReleaseGate] = ()) -> None:
        super().__init__(message)
        self.gates = list(gates)


def trust(version: Version, key: EncoderKey, stored: Set[str], configured: str | None = None) -> list[ReleaseGate]:
    """Check that the version's vectors are meaningful: all rows come from its encoders, and those are trained.

    `key` is the store's and `stored` are the keys of its rows; `configured` is the key of the encoders that queries
    will be encoded with, if known.
    """
    there = {*stored, str(key), configured or str(key)}
    others = there - {version.encoder_key}
    matching = f"features of {version.encoder_key}"
    if others:
        matching = (
            f"the tower reads {matching}, but queries or features are of {', '.join(sorted(others))}: promote with the "
            "settings (encoders.*, sampling.*) that it was trained with, or train a tower on those features"
        )
    weights = "none of the encoders has random weights"
    if key.is_random:
        weights = (
            "the encoders have random weights, so their vectors are meaningless: extract with trained ones "
            "(encoders.random_weights is for tests), train and promote again"
        )
    return [
        ReleaseGate("encoder key", not others, matching),
        ReleaseGate("trained encoders", not key.is_random, weights),
    ]


def pass_through(version: Version, gates: Sequence[ReleaseGate], force: str | None = None) -> None:
    """Raise PromotionRefused, naming each failed gate; `force`, a reason, overrules gates on quality."""
    failed = [gate for gate in gates if not gate.passed]
    if not [gate for gate in failed if not force or not gate.quality]:
        return
    findings = "\n".join(f"- {gate.name}: {gate.finding}" for gate in failed)
    raise PromotionRefused(
        f"Version {version.number} is refused by {len(failed)} of {len(gates)} gates:\n{findings}\n{_remedy(failed)}",
        gates,
    )


def _remedy(failed: Sequence[ReleaseGate]) -> str:
    if all(gate.quality for gate in failed):
        return (
            "The previous release keeps serving. Train a better tower, serve frozen features (rayreel train --set "
            'train.recipe=frozen), change release.gates, or overrule the gates with --force "the reason", which is '
            "stored with the version."
        )
    fixed = ", ".join(gate.name for gate in failed if not gate.quality)
    return f"The previous release keeps serving. --force does not overrule {fixed}."
