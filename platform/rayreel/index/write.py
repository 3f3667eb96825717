"""Put videos into a release's collection and take them out; every call may be repeated."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pymilvus import MilvusClient, MilvusException
from pymilvus.milvus_client.index import IndexParam, IndexParams

from rayreel.errors import RayreelError
from rayreel.index.collection import (
    CATEGORY_BYTES,
    MAX_TAGS,
    TAG_BYTES,
    TEXT_BYTES,
    TITLE_BYTES,
    URI_BYTES,
    VERSION_BYTES,
    cut,
    id_list,
    indexes,
    literal,
    schema,
    typed,
)
from rayreel.index.config import IndexConfig
from rayreel.index.retry import ask
from rayreel.redact import public_address

T = TypeVar("T")
Vector = NDArray[np.float32]

# Rows per answer; Milvus' own limit of one query is 16 384.
PAGE_ROWS = 10_000
# A Ray actor's restart, Milvus Lite's recovery of some hundred thousand rows included.
RESTART_S = 120.0


class IndexBroken(RayreelError):
    """A collection is not what was sent to it, or a row cannot be sent."""


@dataclass(frozen=True, slots=True)
class IndexRow:
    """One video as the index holds it.

    `embedding` is float32 [dim]; `version` is the feature row's; `text` is what BM25 reads; `extra` holds the catalog's
    own columns with `created_at` (epoch seconds) and `duration_s`, texts, numbers and booleans.
    """

    video_id: str
    embedding: Vector
    title: str = ""
    category: str = ""
    tags: tuple[str, ...] = ()
    uri: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""
    text: str = ""


def create_collection(client: MilvusClient, collection: str, dim: int, config: IndexConfig) -> None:
    """Make an empty collection for embeddings [dim]; nothing happens where it is already there."""
    if not client.has_collection(collection, timeout=config.timeout_s):
        client.create_collection(collection, schema=schema(dim), timeout=config.timeout_s)


def upsert(
    client: MilvusClient,
    collection: str,
    rows: Iterable[IndexRow],
    config: IndexConfig,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Send rows in batches, replacing those of the same ids; return how many. Outlives restarts of Milvus.

    `progress` hears the number of rows acknowledged so far.

    Raises:
        IndexBroken: a row has no embedding, or one of another width than the collection's.
        IndexUnavailable: Milvus stayed away.
    """
    sent, dim = 0, _width(client, collection, config)
    for batch in _batches(rows, config.batch_rows):
        records = [_record(row, dim) for row in batch]
        ask(RESTART_S, client.upsert, collection, records, timeout=config.build_timeout_s)
        sent += len(batch)
        progress(sent)
    return sent


def delete(client: MilvusClient, collection: str, ids: Sequence[str], config: IndexConfig) -> None:
    """Take videos out; ids that are not there are no error. Outlives restarts of Milvus.

    Raises:
        IndexUnavailable: Milvus stayed away.
    """
    for batch in _batches(ids, config.batch_rows):
        condition = f"video_id in {id_list(batch)}"
        ask(RESTART_S, client.delete, collection, filter=condition, timeout=config.build_timeout_s)


def stored_versions(client: MilvusClient, collection: str, config: IndexConfig) -> dict[str, str]:
    """Return the feature row's version of every video that the collection holds, by id.

    Raises:
        IndexUnavailable: Milvus did not answer.
    """
    versions: dict[str, str] = {}
    last = ""
    while True:
        page = ask(
            RESTART_S,
            client.query,
            collection,
            filter=f"video_id > {literal(last)}",
            output_fields=["video_id", "version"],
            limit=PAGE_ROWS,
            consistency_level="Strong",
            timeout=config.build_timeout_s,
            # By primary key, as `MilvusClient.query_iterator` asks; that one does not escape the id it goes on from.
            iterator="True",
            reduce_stop_for_best="True",
        )
        if not page:
            return versions
        versions.update((row["video_id"], row["version"]) for row in page)
        last = page[-1]["video_id"]


def make_searchable(client: MilvusClient, collection: str, config: IndexConfig) -> None:
    """Write everything down and index it, so that searches answer. Never interrupts a collection that serves.

    Milvus Lite searches by brute force whatever was written after its index was made, until the next load: hence the
    index last, then release and load. It is also Milvus' own order for bulk loads. Rows that reach a serving collection
    are searched at once, and indexed by Milvus in the background.
    """

    def call(step: Callable[..., Any], *args: Any, **options: Any) -> Any:  # noqa: ANN401
        return ask(RESTART_S, step, collection, *args, timeout=config.build_timeout_s, **options)

    def is_made(params: IndexParam) -> bool:
        return bool(call(client.list_indexes, field_name=params.field_name))

    call(client.flush)
    missing = [params for params in indexes(config) if not is_made(params)]
    for params in missing:
        try:
            call(client.create_index, IndexParams([params]))
        except MilvusException:
            # Milvus Lite refuses an index that is there: one whose making it did not live to report, for instance.
            if not is_made(params):
                raise
    if missing or not call(client.list_aliases)["aliases"]:
        call(client.release_collection)
        call(client.load_collection)
    # Milvus Lite makes its BM25 index when it is first asked: not by a user.
    call(client.search, data=["a"], anns_field="sparse", limit=1, search_params={"metric_type": "BM25"})


def _batches(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, size)):
        yield batch


def _width(client: MilvusClient, collection: str, config: IndexConfig) -> int:
    told = ask(RESTART_S, client.describe_collection, collection, timeout=config.build_timeout_s)
    return int(next(field["params"]["dim"] for field in told["fields"] if field["name"] == "embedding"))


def _record(row: IndexRow, dim: int) -> dict[str, Any]:
    embedding = np.asarray(row.embedding, dtype=np.float32)
    if embedding.shape != (dim,) or not np.isfinite(embedding).all() or not embedding.any():
        raise IndexBroken(
            f"{row.video_id}: embedding of shape {embedding.shape} where {dim} finite numbers, not all zero, are due. "
            "A collection holds the embeddings of one tower: build another for this one."
        )
    return {
        "video_id": row.video_id,
        "version": cut(row.version, VERSION_BYTES),
        "embedding": embedding,
        "title": cut(row.title, TITLE_BYTES),
        "category": cut(row.category, CATEGORY_BYTES),
        "tags": [cut(tag, TAG_BYTES) for tag in row.tags[:MAX_TAGS]],
        # To look at: nothing is fetched from here, and the database may be shared.
        "uri": cut(public_address(row.uri), URI_BYTES),
        "extra": typed(row.extra),
        "text": cut(row.text, TEXT_BYTES),
    }
