"""Fill a release's collection, prove that it answers, and point the alias at it."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymilvus import MilvusClient

from rayreel.errors import RayreelError
from rayreel.index.collection import (
    CATEGORY_BYTES,
    MAX_TAGS,
    TAG_BYTES,
    TITLE_BYTES,
    URI_BYTES,
    collection_name,
    cut,
    hnsw,
    id_list,
    schema,
)
from rayreel.index.config import IndexConfig

Vector = NDArray[np.float32]
Probes = dict[str, Vector]

PROBES = 100
PROBE_TOP = 10
# Wide enough that HNSW's own misses do not fail a sound index (at 20 k clustered rows ef=64 already finds 100 of 100).
PROBE_EF = 512
SELF_SIMILARITY = 0.999
# Seconds. Without a timeout pymilvus asks an absent server for minutes.
CALL_TIMEOUT_S = 15.0


class IndexBroken(RayreelError):
    """A freshly built collection is not what was sent to it. It has been dropped."""


class IndexInUse(RayreelError):
    """A collection that an alias points at."""


@dataclass(frozen=True, slots=True)
class IndexRow:
    """One video as the index holds it. `embedding` is float32 [dim]."""

    video_id: str
    embedding: Vector
    title: str = ""
    category: str = ""
    tags: tuple[str, ...] = ()
    uri: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What was built: rows counted by Milvus, ids probed, wall time."""

    collection: str
    rows: int
    probed: int
    seconds: float


def build(
    client: MilvusClient,
    version: int,
    rows: Iterable[IndexRow],
    config: IndexConfig,
    *,
    expected: int,
    progress: Callable[[int], None] = lambda _: None,
) -> BuildReport:
    """Build the collection of a tower version and verify it. The alias does not move.

    `progress` hears the number of rows sent so far. An unfinished or older collection of the version is replaced.

    Raises:
        IndexInUse: the version's collection serves already.
        IndexBroken: a row has no usable embedding, rows are missing, or a sampled video does not find itself.
    """
    started = time.monotonic()
    collection = collection_name(version)
    drop_collection(client, collection)
    client.create_collection(collection, schema=schema(config), timeout=config.timeout_s)
    try:
        probes = _fill(client, collection, rows, config, expected=expected, progress=progress)
        _index(client, collection, config)
        _verify_count(client, collection, expected, config)
        _verify_stored(client, collection, probes, config)
        _verify_found(client, collection, probes, config)
    except IndexBroken:
        drop_collection(client, collection)
        raise
    return BuildReport(collection, expected, len(probes), time.monotonic() - started)


def alias_target(client: MilvusClient, alias: str, timeout: float = CALL_TIMEOUT_S) -> str | None:
    """Return the collection an alias points at, or None where there is no such alias."""
    # Asking for a missing alias outright makes pymilvus log a traceback.
    if alias not in client.list_aliases(timeout=timeout)["aliases"]:
        return None
    target: str = client.describe_alias(alias, timeout=timeout)["collection_name"]
    return target


def switch_alias(client: MilvusClient, alias: str, collection: str, timeout: float = CALL_TIMEOUT_S) -> None:
    """Point an alias at a collection, in one step of the server: no search sees neither or both."""
    if alias_target(client, alias, timeout) is None:
        client.create_alias(collection, alias, timeout=timeout)
    else:
        client.alter_alias(collection, alias, timeout=timeout)


def drop_collection(client: MilvusClient, collection: str, timeout: float = CALL_TIMEOUT_S) -> None:
    """Drop a collection; nothing happens where there is none.

    Raises:
        IndexInUse: an alias points at it (Milvus Lite would drop the alias too, and every search with it).
    """
    if not client.has_collection(collection, timeout=timeout):
        return
    if aliases := client.list_aliases(collection, timeout=timeout)["aliases"]:
        raise IndexInUse(f"{collection} serves as {', '.join(aliases)}. Promote another release before replacing it.")
    client.drop_collection(collection, timeout=timeout)


def _fill(
    client: MilvusClient,
    collection: str,
    rows: Iterable[IndexRow],
    config: IndexConfig,
    *,
    expected: int,
    progress: Callable[[int], None],
) -> Probes:
    """Send every row; return the embeddings of rows spread evenly over them."""
    sampled = set(np.linspace(0, expected - 1, min(PROBES, expected), dtype=int).tolist())
    probes: Probes = {}
    sent = 0
    for batch in _batches(rows, config.batch_rows):
        records = [_record(row, config.dim) for row in batch]
        client.upsert(collection, records, timeout=config.build_timeout_s)
        sample = [record for n, record in enumerate(records, sent) if n in sampled]
        probes |= {record["video_id"]: record["embedding"] for record in sample}
        sent += len(batch)
        progress(sent)
    return probes


def _batches(rows: Iterable[IndexRow], size: int) -> Iterator[list[IndexRow]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, size)):
        yield batch


def _record(row: IndexRow, dim: int) -> dict[str, Any]:
    embedding = np.asarray(row.embedding, dtype=np.float32)
    if embedding.shape != (dim,) or not np.isfinite(embedding).all() or not embedding.any():
        raise IndexBroken(
            f"{row.video_id}: embedding of shape {embedding.shape} where {dim} finite numbers, not all zero, are due. "
            "Check that tower and index configuration agree, then build again."
        )
    return {
        "video_id": row.video_id,
        "embedding": embedding,
        "title": cut(row.title, TITLE_BYTES),
        "category": cut(row.category, CATEGORY_BYTES),
        "tags": [cut(tag, TAG_BYTES) for tag in row.tags[:MAX_TAGS]],
        "uri": cut(row.uri, URI_BYTES),
        "extra": dict(row.extra),
    }


def _index(client: MilvusClient, collection: str, config: IndexConfig) -> None:
    """Build the HNSW index over rows that are already there.

    Milvus Lite searches by brute force whatever was written after its index was made, until the next load: hence the
    index last, then release and load. It is also Milvus' own order for bulk loads.
    """
    client.flush(collection, timeout=config.build_timeout_s)
    client.create_index(collection, hnsw(config), timeout=config.build_timeout_s)
    client.release_collection(collection, timeout=config.build_timeout_s)
    client.load_collection(collection, timeout=config.build_timeout_s)


def _verify_count(client: MilvusClient, collection: str, expected: int, config: IndexConfig) -> None:
    answer = client.query(
        collection, output_fields=["count(*)"], consistency_level="Strong", timeout=config.build_timeout_s
    )
    count = answer[0]["count(*)"]
    if count != expected or count == 0:
        raise IndexBroken(
            f"{collection} holds {count} videos where {expected} were expected. Repeated ids, or features that changed "
            "meanwhile, are the usual causes: run the extraction again, then build again."
        )


def _verify_stored(client: MilvusClient, collection: str, probes: Probes, config: IndexConfig) -> None:
    found = client.query(
        collection,
        filter=f"video_id in {id_list(probes)}",
        output_fields=["video_id", "embedding"],
        consistency_level="Strong",
        timeout=config.build_timeout_s,
    )
    stored = {row["video_id"]: np.asarray(row["embedding"], dtype=np.float32) for row in found}
    wrong = [key for key, sent in probes.items() if key not in stored or not np.allclose(stored[key], sent, atol=1e-6)]
    _refuse(collection, wrong, probes, "are not stored as they were sent")


def _verify_found(client: MilvusClient, collection: str, probes: Probes, config: IndexConfig) -> None:
    answers = client.search(
        collection,
        data=list(probes.values()),
        anns_field="embedding",
        limit=PROBE_TOP,
        search_params={"params": {"ef": max(config.ef_search, PROBE_EF)}},
        consistency_level="Strong",
        timeout=config.build_timeout_s,
    )
    wrong = [key for key, hits in zip(probes, answers, strict=True) if not _finds_itself(key, hits)]
    _refuse(collection, wrong, probes, "do not find themselves")


def _finds_itself(video_id: str, hits: list[dict[str, Any]]) -> bool:
    """True, too, where a full page of exact duplicates of the video crowds it out."""
    same = [hit["video_id"] for hit in hits if hit["distance"] >= SELF_SIMILARITY]
    return video_id in same or len(same) == PROBE_TOP


def _refuse(collection: str, wrong: list[str], probes: Probes, what: str) -> None:
    if wrong:
        raise IndexBroken(
            f"{collection}: {len(wrong)} of {len(probes)} sampled videos {what} (first: {wrong[0]!r}). Repeated ids do "
            "this, and so does a damaged index: look for repeated ids, then build again."
        )
