"""Promotion: a registered tower becomes the release that serves."""

from collections.abc import Callable
from dataclasses import dataclass

from rayreel.errors import RayreelError
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.store import FeatureStore
from rayreel.index.build import BuildReport, alias_target, build, switch_alias
from rayreel.index.collection import collection_name
from rayreel.index.config import IndexConfig
from rayreel.index.connect import MilvusClient
from rayreel.release import registry
from rayreel.release.registry import Version
from rayreel.release.rows import index_rows
from rayreel.tower.embed import embed


class Refused(RayreelError):
    """A version that must not serve."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """What was switched: the version that serves, the one that served before, and the index built for it."""

    version: Version
    previous: str | None
    index: BuildReport


def promote(
    version: Version,
    store: FeatureStore,
    client: MilvusClient,
    config: IndexConfig,
    progress: Callable[[int], None] = lambda _: None,
) -> Promotion:
    """Build the version's index beside the serving one, verify it, then switch index alias and registry alias.

    The index alias is the one switch: search follows it. Should the registry fail after it has moved, the release
    serves all the same, and promoting again only repeats the registry's part.
    """
    _check(version, store)
    serving = alias_target(client, config.alias)
    matrix = FeatureMatrix.from_table(store.read())
    tower = registry.load(version)
    config = config.model_copy(update={"dim": tower.config.dim})
    rows = index_rows(matrix, embed(tower, matrix))
    report = build(client, version.number, rows, config, expected=len(matrix), progress=progress)
    switch_alias(client, config.alias, report.collection)
    registry.crown(version, indexed=store.fingerprint())
    return Promotion(version, serving, report)


def is_current(version: Version, store: FeatureStore, client: MilvusClient, config: IndexConfig) -> bool:
    """Whether this version serves already, with an index of exactly the store's current rows."""
    champion = registry.find(registry.CHAMPION)
    if champion is None or champion.number != version.number:
        return False
    serving = alias_target(client, config.alias)
    return serving == collection_name(version.number) and registry.indexed(version) == store.fingerprint()


def _check(version: Version, store: FeatureStore) -> None:
    if version.encoder_key != str(store.key):
        raise Refused(
            f"Version {version.number} reads features of {version.encoder_key}; the store holds {store.key}. "
            "Extract with that version's encoders, or train a tower on these features."
        )
    if store.key.is_random:
        raise Refused(
            f"Version {version.number} stands on encoders with random weights ({store.key}), which mean nothing. "
            "Extract with trained encoders (encoders.random_weights is for tests), train and promote again."
        )
