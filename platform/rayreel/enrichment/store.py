"""Put answers beside the features of their videos: new rows with the columns of ENRICHED, then one switch."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import pyarrow as pa

from rayreel.encoders.registry import Modality
from rayreel.encoders.text_weights import weights_in
from rayreel.enrichment.answer import Enrichment
from rayreel.enrichment.config import EnrichConfig
from rayreel.enrichment.prompt import PROMPT_VERSION
from rayreel.enrichment.subjects import Pair, stores_of
from rayreel.features.schema import ENRICHED, QUARANTINE
from rayreel.features.store import FeatureStore
from rayreel.features.version import enriched_version
from rayreel.storage import Storage

Encode = Callable[[pa.Table], pa.Table]
"""Feature rows -> the same rows with their texts encoded again."""


def reads_answers(store: FeatureStore) -> bool:
    """Whether the vectors of a store's texts depend on answers: `encoders.text_weights.summary`."""
    weights = weights_in(store.key.identities[Modality.TEXT])
    return weights is not None and weights.summary > 0


def store_answers(
    storage: Storage,
    found: Mapping[Pair, tuple[str, Enrichment]],
    config: EnrichConfig,
    encode: Mapping[str, Encode] = MappingProxyType({}),
) -> int:
    """Add rows with the answers, by (video_id, version) with their keys, to all stores, and make them current.

    Vectors and the catalog's columns stay as they are, but those of texts in stores that `reads_answers`; `encode` has
    their functions by encoder key. Returns how many rows changed. Safe to repeat after a kill: the former rows are
    current until all stores have the new ones. Raises StorageFull.
    """
    renamed = {(i, version): enriched_version(version, key) for (i, version), (key, _) in found.items()}
    renamed = {pair: version for pair, version in renamed.items() if pair[1] != version}
    answers = {pair: answer for pair, (_, answer) in found.items()}
    by = f"{config.model} prompt {PROMPT_VERSION}"
    stores = stores_of(storage) if renamed else []
    for store in stores:
        _add_rows(store, renamed, answers, by, encode.get(str(store.key), lambda rows: rows))
    if stores:
        _switch(stores[0], renamed)
    return len(renamed)


def _add_rows(
    store: FeatureStore, renamed: Mapping[Pair, str], answers: Mapping[Pair, Enrichment], by: str, encode: Encode
) -> None:
    done = store.done(quarantined=False)
    left = {pair for pair, version in renamed.items() if (pair[0], version) not in done}
    for path in store.storage.files(store.features, ".parquet"):
        table = store.table(path) if left else None
        if table is None:
            return
        pairs = list(zip(table["video_id"].to_pylist(), table["version"].to_pylist(), strict=True))
        here = [place for place, pair in enumerate(pairs) if pair in left]
        left -= set(pairs)
        if here:
            chosen = [pairs[place] for place in here]
            rows = encode(enriched_rows(table.take(here), [answers[pair] for pair in chosen], by))
            at = rows.schema.get_field_index("version")
            versions = pa.array([renamed[pair] for pair in chosen], pa.string())
            store.add(rows.set_column(at, "version", versions), QUARANTINE.empty_table())


def enriched_rows(rows: pa.Table, answers: list[Enrichment], by: str) -> pa.Table:
    """Return feature rows with the columns of ENRICHED."""
    values = [
        {"summary": one.summary, "topics": list(one.topics), "rewritten_title": one.title or None, "enrichment": by}
        for one in answers
    ]
    for field, column in zip(ENRICHED, pa.Table.from_pylist(values, schema=ENRICHED).columns, strict=True):
        rows = rows.set_column(rows.schema.get_field_index(field.name), field, column)
    return rows


def _switch(store: FeatureStore, renamed: Mapping[Pair, str]) -> None:
    catalog = [(row["video_id"], row["version"]) for row in store.catalog().to_pylist()]
    amended = [(i, version) for i, version in store.amendments.read().items() if version is not None]
    store.amend(added=[(pair[0], renamed[pair]) for pair in amended if pair in renamed])
    store.set_catalog([(pair[0], renamed.get(pair, pair[1])) for pair in catalog])
