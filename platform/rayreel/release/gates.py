"""Gates: what stands between a registered tower and the people it would serve."""

from collections.abc import Sequence
from dataclasses import dataclass

from rayreel.errors import RayreelError
from rayreel.features.store import FeatureStore
from rayreel.release.registry import Version


@dataclass(frozen=True, slots=True)
class Gate:
    """One thing that was asked of a version, and what was found, failed ones by how much.

    Gates on quality can be overruled by a person who says why; gates on soundness cannot.
    """

    name: str
    passed: bool
    finding: str
    quality: bool = False


class Refused(RayreelError):
    """A version that must not serve; `gates` are those it was asked."""

    def __init__(self, message: str, gates: Sequence[Gate] = ()) -> None:
        super().__init__(message)
        self.gates = list(gates)


def trust(version: Version, store: FeatureStore, configured: str | None = None) -> list[Gate]:
    """Whether the version's vectors can mean anything: all rows come from its encoders, which are trained ones.

    `configured` is the key of the encoders that queries will be encoded with, where that is known.
    """
    there = {*store.read(["encoder_key"])["encoder_key"].to_pylist(), str(store.key), configured or str(store.key)}
    others = there - {version.encoder_key}
    matching = f"features of {version.encoder_key}"
    if others:
        matching = (
            f"it reads {matching}, but queries or features are of {', '.join(sorted(others))}: promote with the "
            "settings (encoders.*, sampling.*) that it was trained with, or train a tower on those features"
        )
    weights = "none of the encoders has random weights"
    if store.key.is_random:
        weights = (
            "the encoders have random weights, which mean nothing: extract with trained ones (encoders.random_weights "
            "is for tests), train and promote again"
        )
    return [Gate("encoder key", not others, matching), Gate("trained encoders", not store.key.is_random, weights)]


def pass_through(version: Version, gates: Sequence[Gate], force: str | None = None) -> None:
    """Raises Refused, naming each failed gate, unless there is none or only such as `force`, a reason, overrules."""
    failed = [gate for gate in gates if not gate.passed]
    if not [gate for gate in failed if not force or not gate.quality]:
        return
    findings = "\n".join(f"- {gate.name}: {gate.finding}" for gate in failed)
    raise Refused(
        f"Version {version.number} is refused by {len(failed)} of {len(gates)} gates:\n{findings}\n{_remedy(failed)}",
        gates,
    )


def _remedy(failed: Sequence[Gate]) -> str:
    if all(gate.quality for gate in failed):
        return (
            "What served before goes on serving. Train a better tower, change release.gates, or overrule them with "
            '--force "the reason", which is kept with the version.'
        )
    fixed = ", ".join(gate.name for gate in failed if not gate.quality)
    return f"What served before goes on serving. --force does not overrule {fixed}."
